"""Looking up what the daemon tells of itself and of the machine: `docker info`, `version`."""

import contextlib
import functools
import os
import platform
import re
import uuid
from pathlib import Path

from pier.containers.facts import HostFacts
from pier.containers.init_program import NoInit, find_init
from pier.containers.inputs import APPARMOR_PROFILE
from pier.engine.model import EngineFacts, RuntimeFacts
from pier.linux import process
from pier.runtime.oci_runtime import Runtimes
from pier.settings import Settings

_UNKNOWN = "linux"
_VERSION_TIMEOUT_S = 2.0
_versions: dict[str, str] = {}


async def engine_facts(
    settings: Settings, host: HostFacts, runtimes: Runtimes, *, default_runtime: str
) -> EngineFacts:
    """Looked up now; cheap enough for every `docker info`."""
    release = _os_release()
    init = _init(settings)
    return EngineFacts(
        id=daemon_id(settings.paths.data_root),
        hostname=platform.node(),
        kernel_version=platform.release(),
        operating_system=release.get("PRETTY_NAME", _UNKNOWN),
        os_version=release.get("VERSION_ID", ""),
        machine=platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        open_files=_count("/proc/self/fd"),
        tasks=_count("/proc/self/task"),
        data_root=settings.data_root,
        backing_filesystem=_filesystem_of(settings.paths.data_root),
        cgroup_version=str(host.cgroup_version),
        memory_limit=host.memory,
        swap_limit=host.swap,
        cpu_cfs=host.cpu_cfs,
        cpu_shares=host.cpu_shares,
        cpuset=host.cpuset,
        pids_limit=host.pids,
        oom_kill_disable=host.oom_kill_disable,
        ipv4_forwarding=_first_line("/proc/sys/net/ipv4/ip_forward") == "1",
        security_options=_security_options(settings, host),
        runtimes=tuple(
            RuntimeFacts(name=info.name, path=info.path, version=info.version)
            for info in runtimes.list_()
        ),
        default_runtime=default_runtime,
        log_driver=settings.log_driver,
        init_binary=Path(init).name,
        init_version=await _version_of(init) if init else "",
        labels=tuple(settings.labels),
        debug=settings.debug,
        live_restore=True,
        experimental=settings.experimental,
        insecure_registries=tuple(settings.insecure_registries),
        registry_mirrors=tuple(settings.registry_mirrors),
        http_proxy=_proxy(settings, "http-proxy"),
        https_proxy=_proxy(settings, "https-proxy"),
        no_proxy=_proxy(settings, "no-proxy"),
        warnings=tuple(runtimes.warnings()),
    )


def _proxy(settings: Settings, key: str) -> str:
    """Of the settings or of the environment; without its password, as Docker shows it."""
    name = key.replace("-", "_")
    url = settings.proxies.get(key) or os.environ.get(name.upper()) or os.environ.get(name, "")
    return re.sub(r"(?<=//)[^/@]*@", "xxxxx:xxxxx@", url)


def _init(settings: Settings) -> str:
    try:
        return find_init(settings.init_path)
    except NoInit:
        return settings.init_path


async def _version_of(program: str) -> str:
    """What `--version` says, "tini 0.19.0"; "" if it cannot be asked. Asked once."""
    if program not in _versions:
        _versions[program] = ""
        with contextlib.suppress(OSError, TimeoutError):
            done = await process.run([program, "--version"], timeout_s=_VERSION_TIMEOUT_S)
            said = done.stdout.decode(errors="replace").split(" - ")[0].split()
            _versions[program] = " ".join(word for word in said if word != "version")
    return _versions[program]


@functools.cache
def daemon_id(data_root: Path) -> str:
    """Made once, kept with the data; with the process where a full disk does not keep it."""
    path = data_root / "daemon-id"
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_text().strip("\0\n"):  # a loss of power leaves zeros, or nothing
            return found
    made = str(uuid.uuid4())
    with contextlib.suppress(OSError):
        path.write_text(made)
    return made


def _security_options(settings: Settings, host: HostFacts) -> tuple[str, ...]:
    profile = settings.seccomp_profile
    options = []
    # Pier loads no profile: without Docker's nothing is confined, and it must not look so.
    if host.apparmor and APPARMOR_PROFILE in host.apparmor_profiles:
        options.append("name=apparmor")
    if host.seccomp:
        options.append(f"name=seccomp,profile={profile}")
    if host.cgroup_version == 2:
        options.append("name=cgroupns")
    if settings.no_new_privileges:
        options.append("name=no-new-privileges")
    return tuple(options)


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


@functools.cache
def _filesystem_of(path: Path) -> str:
    """Type of the file system that holds `path`. proc_pid_mountinfo(5)."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().split("\n", 1)[0]
    except OSError:
        return ""


def _count(directory: str) -> int:
    return sum(1 for _ in Path(directory).iterdir())
