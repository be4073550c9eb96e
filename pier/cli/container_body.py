"""From the flags of `run` and `create` to the body of POST /containers/create.

Only what was asked for is sent: an absent field and Docker's zero mean the same to a daemon.
Pure but for the files that flags name. ValueError says what does not fit together.
"""

from __future__ import annotations

from pier.cli.values.attachments import FirstNetwork, is_user_defined, join_networks, parse_network
from pier.cli.values.devices import (
    is_cdi_name,
    parse_bps,
    parse_devices,
    parse_gpus,
    parse_iops,
    parse_weight,
)
from pier.cli.values.mounts import parse_mount, parse_tmpfs, parse_volumes
from pier.cli.values.policies import (
    Capabilities,
    health_check,
    parse_restart,
    parse_storage_opts,
    parse_ulimit,
    read_security,
)
from pier.cli.values.ports import parse_expose, parse_publish
from pier.cli.values.variables import parse_map, read_env, read_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options

    Json = dict[str, Any]  # objects of the API

_STREAMS = ("stdin", "stdout", "stderr")


_MODES = (
    ("pid", "PID", ("", "host")),
    ("uts", "UTS", ("", "host")),
    ("userns", "USER", ("", "host")),
    ("cgroupns", "CGROUP", ("", "host", "private")),
)


def container_body(options: Options, image: str, command: list[str]) -> Json:
    """Return the body; `options` are those of `create`, or of `run`."""
    _check_modes(options)
    body: Json = {"Image": image}
    if command:
        body["Cmd"] = command
    _add_process(body, options)
    body["HostConfig"] = _host_config(body, options)
    endpoints = _endpoints(options)
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def _check_modes(options: Options) -> None:
    swappiness = options.number("memory-swappiness")
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    for flag, name, allowed in _MODES:
        mode = options.text(flag)
        if mode not in allowed and not (flag == "pid" and _of_container(mode)):
            raise ValueError(f"--{flag}: invalid {name} mode")
    if options.on("rm") and options.text("restart") not in ("no", ""):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")


def _of_container(text: str) -> bool:
    return text.startswith("container:") and len(text) > len("container:")


def attached_streams(options: Options) -> list[str]:
    """Return the streams to attach to: those of -a, else all that are open; none with -d."""
    if options.values.get("detach") is True:
        return []
    chosen = options.texts("attach")
    if not chosen:
        chosen = ["stdout", "stderr", *(["stdin"] if options.on("interactive") else [])]
    return [stream for stream in _STREAMS if stream in chosen]


def _add_process(body: Json, options: Options) -> None:
    streams = attached_streams(options)
    for stream in streams:
        body[f"Attach{stream.capitalize()}"] = True
    if options.on("interactive"):
        body["OpenStdin"] = True
        body["StdinOnce"] = "stdin" in streams
    if options.on("tty"):
        body["Tty"] = True
    texts = {
        "hostname": "Hostname",
        "domainname": "Domainname",
        "user": "User",
        "workdir": "WorkingDir",
        "stop-signal": "StopSignal",
    }
    body |= {key: options.text(flag) for flag, key in texts.items() if options.text(flag)}
    if "stop-timeout" in options.given:
        body["StopTimeout"] = options.number("stop-timeout")
    if "entrypoint" in options.given:
        # One empty string is how the API says "no entrypoint at all".
        body["Entrypoint"] = [options.text("entrypoint")]
    _put(body, "Env", read_env(options.texts("env-file"), options.texts("env")))
    _put(body, "Labels", read_labels(options.texts("label-file"), options.texts("label")))
    _put(body, "Healthcheck", _health(options))


def _put(target: Json, key: str, value: object) -> None:
    if value:
        target[key] = value


def _health(options: Options) -> Json | None:
    durations = {
        "Interval": options.number("health-interval"),
        "Timeout": options.number("health-timeout"),
        "StartPeriod": options.number("health-start-period"),
        "StartInterval": options.number("health-start-interval"),
    }
    return health_check(
        options.text("health-cmd"),
        durations,
        options.number("health-retries"),
        disabled=options.on("no-healthcheck"),
    )


_TEXTS = {
    "volume-driver": "VolumeDriver",
    "cidfile": "ContainerIDFile",
    "cgroupns": "CgroupnsMode",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "uts": "UTSMode",
    "userns": "UsernsMode",
    "isolation": "Isolation",
    "cgroup-parent": "CgroupParent",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "runtime": "Runtime",
}
_NUMBERS = {
    "memory": "Memory",
    "memory-swap": "MemorySwap",
    "memory-reservation": "MemoryReservation",
    "kernel-memory": "KernelMemory",
    "shm-size": "ShmSize",
    "cpus": "NanoCpus",
    "cpu-shares": "CpuShares",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "pids-limit": "PidsLimit",
    "blkio-weight": "BlkioWeight",
    "oom-score-adj": "OomScoreAdj",
}
_LISTS = {
    "volumes-from": "VolumesFrom",
    "dns": "Dns",
    "dns-search": "DnsSearch",
    "add-host": "ExtraHosts",
    "group-add": "GroupAdd",
    "link": "Links",
    "device-cgroup-rule": "DeviceCgroupRules",
}
_SWITCHES = {
    "rm": "AutoRemove",
    "privileged": "Privileged",
    "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs",
    "oom-kill-disable": "OomKillDisable",
}


def _host_config(body: Json, options: Options) -> Json:
    host: Json = {}
    for flag, key in _TEXTS.items():
        _put(host, key, options.text(flag))
    for flag, key in _NUMBERS.items():
        _put(host, key, options.number(flag))
    for flag, key in _LISTS.items():
        _put(host, key, options.texts(flag))
    for flag, key in _SWITCHES.items():
        _put(host, key, options.on(flag))
    _put(host, "DnsOptions", options.texts("dns-option") + options.texts("dns-opt"))
    if options.number("memory-swappiness") != -1:
        host["MemorySwappiness"] = options.number("memory-swappiness")
    if "init" in options.given:
        host["Init"] = options.on("init")
    host["NetworkMode"] = _network_mode(options)
    host["RestartPolicy"] = parse_restart(options.text("restart"))
    _put(host, "Sysctls", parse_map(options.texts("sysctl")))
    _put(host, "Annotations", parse_map(options.texts("annotation")))
    _put(host, "StorageOpt", parse_storage_opts(options.texts("storage-opt")))
    _put(host, "Ulimits", [parse_ulimit(text) for text in options.texts("ulimit")])
    _add_logging(host, options)
    _add_storage(body, host, options)
    _add_ports(body, host, options)
    _add_devices(host, options)
    _add_security(host, options)
    return host


def _network_mode(options: Options) -> str:
    networks = options.texts("network") + options.texts("net")
    return parse_network(networks[0]).name if networks else "default"


def _add_logging(host: Json, options: Options) -> None:
    driver, settings = options.text("log-driver"), parse_map(options.texts("log-opt"))
    if driver == "none" and settings:
        raise ValueError(f"invalid logging opts for driver {driver}")
    if driver or settings:
        host["LogConfig"] = {"Type": driver, "Config": settings}


def _add_storage(body: Json, host: Json, options: Options) -> None:
    volumes = parse_volumes(options.texts("volume"))
    _put(host, "Binds", volumes.binds)
    _put(body, "Volumes", {path: {} for path in volumes.anonymous})
    _put(host, "Tmpfs", parse_tmpfs(options.texts("tmpfs")))
    _put(host, "Mounts", [parse_mount(text) for text in options.texts("mount")])
    if options.on("use-api-socket"):
        raise ValueError("--use-api-socket is not supported by Pier; mount the socket with -v")


def _add_ports(body: Json, host: Json, options: Options) -> None:
    bindings = parse_publish(options.texts("publish"))
    exposed = [*bindings, *parse_expose(options.texts("expose"))]
    _put(host, "PortBindings", bindings)
    _put(body, "ExposedPorts", {port: {} for port in exposed})


def _add_devices(host: Json, options: Options) -> None:
    cdi = [text for text in options.texts("device") if is_cdi_name(text)]
    paths = [text for text in options.texts("device") if not is_cdi_name(text)]
    requests = [parse_gpus(text) for text in options.texts("gpus")]
    if cdi:
        requests.append({"Driver": "cdi", "DeviceIDs": cdi})
    _put(host, "Devices", parse_devices(paths))
    _put(host, "DeviceRequests", requests)
    weights = [parse_weight(text) for text in options.texts("blkio-weight-device")]
    _put(host, "BlkioWeightDevice", weights)
    for way in ("Read", "Write"):
        bps = options.texts(f"device-{way.lower()}-bps")
        iops = options.texts(f"device-{way.lower()}-iops")
        _put(host, f"BlkioDevice{way}Bps", [parse_bps(text) for text in bps])
        _put(host, f"BlkioDevice{way}IOps", [parse_iops(text) for text in iops])


def _add_security(host: Json, options: Options) -> None:
    capabilities = Capabilities(options.texts("cap-add"), options.texts("cap-drop"))
    _put(host, "CapAdd", capabilities.add)
    _put(host, "CapDrop", capabilities.drop)
    security = read_security(options.texts("security-opt"))
    _put(host, "SecurityOpt", security.options)
    if security.unmasked:
        host["MaskedPaths"] = []
        host["ReadonlyPaths"] = []


def _endpoints(options: Options) -> Json:
    first = FirstNetwork()
    first.aliases = options.texts("network-alias") + options.texts("net-alias")
    first.links = options.texts("link")
    first.link_local_ips = options.texts("link-local-ip")
    first.ip, first.ip6 = options.text("ip"), options.text("ip6")
    first.mac_address = options.text("mac-address")
    endpoints = join_networks(options.texts("network") + options.texts("net"), first)
    if len(endpoints) > 1 and not all(map(is_user_defined, endpoints)):
        raise ValueError("a container's or the host's network can only be joined alone")
    return endpoints
