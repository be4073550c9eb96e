"""From the parameters of `POST /build` to a BuildRequest.

Docker's parameters, and Pier's own: `contexts` (JSON, named contexts), `parcel` (the body holds
several contexts), `ssh` (JSON, sockets of agents on this machine), `allow` (entitlements),
`nocachefilter` (stages), `localcache` (use the cache here, too, beside the images of `cachefrom`:
for Docker's classic builder those are all the cache there is), and the header
X-Pier-Build-Secrets. `outputs` is Docker's, of its BuildKit.
"""

import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from pier.api.auth import build_secrets, registry_auths
from pier.api.call import Call
from pier.api.schema.resources import UlimitJson
from pier.build.request import BuildRequest, Output
from pier.containers import rlimits
from pier.containers.resources import supported
from pier.errors import InvalidArgument
from pier.oci.reference import parse_reference
from pier.runtime.resources import Resources, Ulimit

T = TypeVar("T")
_INSECURE = "security.insecure"
_HOST = "network.host"
_ENTITLEMENTS = (_INSECURE, _HOST)


class InvalidParameter(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"error reading {name}: invalid JSON")


class NoAgent(InvalidArgument):
    def __init__(self, identity: str, path: str) -> None:
        super().__init__(f"ssh agent {identity}: {path} is not a socket on the daemon's machine")


class OutputJson(msgspec.Struct, rename="pascal"):
    type: str = ""
    attrs: dict[str, str] | None = None


def build_request(call: Call) -> BuildRequest:
    """Raises InvalidArgument."""
    tags = call.texts("t")
    for tag in tags:
        parse_reference(tag)
    _refuse_foreign(call)
    entitlements = _entitlements(call)
    limits = _limits(call)
    labels = {key: value or "" for key, value in _map(call, "labels").items()}
    cache_from = _list(call, "cachefrom")
    return BuildRequest(
        tags=tags,
        dockerfile=call.text("dockerfile") or "Dockerfile",
        remote=call.text("remote"),
        target=call.text("target"),
        platform=call.text("platform"),
        build_args=_map(call, "buildargs"),
        labels=labels,
        cache_from=cache_from,
        local_cache=not cache_from or call.flag("localcache"),
        extra_hosts=call.texts("extrahosts"),
        network=call.text("networkmode") or "default",
        no_cache=call.flag("nocache"),
        no_cache_stages=frozenset(name.lower() for name in call.texts("nocachefilter")),
        pull=call.flag("pull"),
        squash=call.flag("squash"),
        limits=limits,
        warnings=_warnings(limits, call),
        shm_size=call.number("shmsize"),
        contexts={name: value or "" for name, value in _map(call, "contexts").items()},
        parcel=call.flag("parcel"),
        auths=registry_auths(call.request.headers),
        secrets=build_secrets(call.request.headers),
        ssh=_agents(call),
        allow_insecure=_INSECURE in entitlements,
        allow_host=_HOST in entitlements,
        outputs=_outputs(call),
    )


def _refuse_foreign(call: Call) -> None:
    """What Docker's daemon refuses on Linux too."""
    if call.texts("securityopt"):
        raise InvalidArgument(
            "The daemon on this platform does not support setting security options on build"
        )
    if "," in call.text("platform"):
        raise InvalidArgument(
            "several platforms in one build are not supported: build each by itself"
        )
    isolation = call.text("isolation")
    if isolation not in ("", "default"):
        raise InvalidArgument(f"invalid isolation ({isolation}): only default is known on Linux")


def _decoded(call: Call, name: str, kind: type[T], empty: T) -> T:
    text = call.text(name)
    if not text:
        return empty
    try:
        return msgspec.json.decode(text, type=kind | None) or empty
    except msgspec.DecodeError:
        raise InvalidParameter(name) from None


def _map(call: Call, name: str) -> dict[str, str | None]:
    return _decoded(call, name, dict[str, str | None], {})


def _list(call: Call, name: str) -> tuple[str, ...]:
    return tuple(_decoded(call, name, list[str], []))


def _outputs(call: Call) -> tuple[Output, ...]:
    found = _decoded(call, "outputs", list[OutputJson], [])
    return tuple(Output(type=output.type) for output in found)


def _entitlements(call: Call) -> tuple[str, ...]:
    asked = call.texts("allow")
    for name in asked:
        if name not in _ENTITLEMENTS:
            raise InvalidArgument(f"unknown entitlement {name}: use {' or '.join(_ENTITLEMENTS)}")
    return asked


def _agents(call: Call) -> dict[str, str]:
    agents = {name: path or "" for name, path in _map(call, "ssh").items()}
    for identity, path in agents.items():
        try:
            known = stat.S_ISSOCK(Path(path).stat().st_mode)
        except (OSError, ValueError):
            known = False
        if not known:
            raise NoAgent(identity, path)
    return agents


def _limits(call: Call) -> Resources:
    return Resources(
        memory=call.number("memory"),
        memory_swap=call.number("memswap"),
        cpu_shares=call.number("cpushares"),
        cpu_period_us=call.number("cpuperiod"),
        cpu_quota_us=call.number("cpuquota"),
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        cgroup_parent=_cgroup_parent(call.text("cgroupparent")),
        ulimits=_ulimits(call),
    )


def _warnings(limits: Resources, call: Call) -> tuple[str, ...]:
    """What this machine cannot hold to. Raises InvalidResource for limits that make no sense."""
    facts = getattr(call.engine, "host", None)
    return () if facts is None else tuple(supported(limits, facts).warnings)


def _cgroup_parent(text: str) -> str:
    if ".." in text.split("/") or not text.isprintable():
        raise InvalidArgument(f"invalid cgroup parent: {text}")
    return text


def _ulimits(call: Call) -> tuple[Ulimit, ...]:
    items = _decoded(call, "ulimits", list[UlimitJson], [])
    found = tuple(Ulimit(name=item.name, soft=item.soft, hard=item.hard) for item in items)
    for ulimit in found:
        rlimits.check(ulimit)
    return found
