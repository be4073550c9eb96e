"""The options of `pier daemon`: dockerd's names, each also a key of daemon.json.

A flag is turned into the value its key would have in the file, so both are checked in one place
(`pier.settings`). Flags that were not given are left out, so that the file can speak.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from typing_extensions import override

from pier.settings import InvalidSettings


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line said. settings: by daemon.json's keys."""

    settings: Mapping[str, object]
    config_file: Path | None
    drop_in: bool
    validate: bool


_STRINGS = {
    "data-root": "where images, containers and volumes are kept",
    "exec-root": "where the state of running containers is kept",
    "pidfile": "write the daemon's pid to this file",
    "bridge": "name of the default bridge device",
    "bip": "address and prefix length of the default bridge",
    "fixed-cidr": "range of the default bridge that containers get addresses from",
    "default-gateway": "no such thing in Pier",
    "group": "group that may use the unix sockets",
    "log-level": "debug, info, warn, error or fatal",
    "log-format": "text or json",
    "log-driver": "where containers' output goes unless they say otherwise",
    "ip": "host address that published ports are bound to by default",
    "default-runtime": "OCI runtime of containers that name none",
    "cgroup-parent": "cgroup that holds the containers' groups",
    "init-path": "program for containers with --init",
    "default-shm-size": "size of /dev/shm",
    "default-ipc-mode": "private or shareable",
    "default-cgroupns-mode": "private or host",
    "seccomp-profile": "builtin, unconfined or a file",
    "storage-driver": "overlay2: there is no other",
    "tlscacert": "trust clients whose certificates this CA signed",
    "tlscert": "certificate of the daemon",
    "tlskey": "its key",
    "min-api-version": "oldest API version that is served",
    "http-proxy": "proxy to plain HTTP registries",
    "https-proxy": "proxy to registries",
    "no-proxy": "hosts to reach without a proxy",
}
_PROXIES = ("http-proxy", "https-proxy", "no-proxy")
"""Together they are the key `proxies`."""
_NUMBERS = {
    "mtu": "of the container networks, bytes",
    "max-concurrent-downloads": "of one pull",
    "max-concurrent-uploads": "of one push",
    "max-download-attempts": "for one layer",
    "shutdown-timeout": "seconds for containers when the machine goes down",
    "default-stop-timeout": "seconds from stop to SIGKILL",
}
_SWITCHES = {
    "debug": "log much more",
    "tls": "speak TLS on TCP",
    "tlsverify": "and let in only clients with a certificate of tlscacert",
    "icc": "containers on the default bridge may talk to each other",
    "iptables": "manage the firewall",
    "ip6tables": "manage the firewall for IPv6",
    "ip-forward": "turn on forwarding",
    "ip-masq": "hide containers' addresses behind the host's",
    "userland-proxy": "no such thing in Pier",
    "init": "run an init in every container",
    "live-restore": "containers outlive the daemon: always on",
    "no-new-privileges": "containers cannot gain privileges",
    "experimental": "accepted for compatibility",
}
_LISTS = {
    "host": ("hosts", "where to listen: unix://, tcp:// or fd://"),
    "dns": ("dns", "name servers of containers"),
    "dns-opt": ("dns-opts", "resolver options"),
    "dns-search": ("dns-search", "search domains"),
    "label": ("labels", "labels of the daemon"),
    "registry-mirror": ("registry-mirrors", "mirror of Docker Hub"),
    "insecure-registry": ("insecure-registries", "registry without (valid) TLS"),
    "exec-opt": ("exec-opts", "native.cgroupdriver=cgroupfs"),
    "storage-opt": ("storage-opts", "none are known"),
    "host-gateway-ip": ("host-gateway-ips", "what host-gateway stands for in --add-host"),
    "log-opt": ("log-opts", "option of the log driver"),
    "default-ulimit": ("default-ulimits", "name=soft[:hard]"),
    "add-runtime": ("runtimes", "name=path of an OCI runtime"),
    "default-address-pool": ("default-address-pools", "base=CIDR,size=N"),
}
_SHORT = {"host": "-H", "debug": "-D", "group": "-G", "bridge": "-b", "log-level": "-l"}


def parse(argv: Sequence[str]) -> Arguments:
    """Exits with 125 and a message, as dockerd does, where a flag is unknown."""
    found = vars(_parser().parse_args(argv))
    config_file = found.pop("config_file", None)
    return Arguments(
        config_file=None if config_file is None else Path(config_file),
        drop_in=found.pop("drop_in", False),
        validate=found.pop("validate", False),
        settings=_to_settings(found),
    )


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        self.exit(125, f"{message}\nSee '{self.prog} --help'.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pier daemon",
        description="Run the daemon. Every option is also a key of daemon.json.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config-file", metavar="FILE", help="default /etc/pier/daemon.json")
    parser.add_argument(
        "--drop-in",
        action="store_true",
        help="take Docker's place: /run/docker.sock, docker0, group docker",
    )
    parser.add_argument("--validate", action="store_true", help="check the settings and exit")
    for name, text in _STRINGS.items():
        parser.add_argument(*_names(name), metavar="VALUE", help=text)
    for name, text in _NUMBERS.items():
        parser.add_argument(*_names(name), type=int, metavar="N", help=text)
    for name, text in _SWITCHES.items():
        parser.add_argument(
            *_names(name), type=_boolean, nargs="?", const=True, metavar="BOOL", help=text
        )
    for name, (key, text) in _LISTS.items():
        parser.add_argument(*_names(name), dest=key, action="append", metavar="VALUE", help=text)
    return parser


def _names(name: str) -> list[str]:
    return [_SHORT[name], f"--{name}"] if name in _SHORT else [f"--{name}"]


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"invalid boolean value: {text!r}")


def _to_settings(found: Mapping[str, object]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for name, value in found.items():
        key = name.replace("_", "-")
        shape = _SHAPES.get(key)
        settings[key] = shape(value) if shape and isinstance(value, list) else value
    proxies = {name: settings.pop(name) for name in _PROXIES if name in settings}
    return settings | {"proxies": proxies} if proxies else settings


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidSettings(f"invalid {what}: {text}: expected name=value")
    return name, value


def _log_options(values: Sequence[str]) -> object:
    return dict(_pair(value, "logging option") for value in values)


def _runtimes(values: Sequence[str]) -> object:
    return {name: {"path": path} for name, path in (_pair(v, "runtime") for v in values)}


def _ulimits(values: Sequence[str]) -> object:
    limits: dict[str, object] = {}
    for value in values:
        name, bounds = _pair(value, "ulimit")
        soft, _, hard = bounds.partition(":")
        try:
            limits[name] = {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
        except ValueError:
            raise InvalidSettings(f"invalid ulimit: {value}") from None
    return limits


def _pools(values: Sequence[str]) -> object:
    pools: list[object] = []
    for value in values:
        fields = dict(_pair(part, "address pool") for part in value.split(","))
        try:
            pools.append({"base": fields["base"], "size": int(fields["size"])})
        except (KeyError, ValueError):
            raise InvalidSettings(f"invalid default-address-pool: {value}") from None
    return pools


_SHAPES: Mapping[str, Callable[[Sequence[str]], object]] = {
    "log-opts": _log_options,
    "runtimes": _runtimes,
    "default-ulimits": _ulimits,
    "default-address-pools": _pools,
}
