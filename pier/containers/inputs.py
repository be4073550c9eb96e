"""Gathering what a container's config.json depends on: users, devices, namespaces, profile.

`to_oci` decides and looks nothing up; here is where everything is looked up, for a start and for
an exec. What blocks on the container's own files runs in a thread.
"""

import asyncio
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pier.containers import to_oci
from pier.containers.devices import DeviceNode
from pier.containers.facts import HostFacts
from pier.containers.host import block_devices, device_nodes, host_devices
from pier.containers.init_program import find_init
from pier.containers.links import Links, environment
from pier.containers.model import Container, MountPoint
from pier.containers.namespaces import (
    HOST,
    Namespaces,
    cgroup_mode,
    host_or_private,
    joined_container,
)
from pier.containers.native_exec import expose
from pier.containers.oci_mounts import HOST_SHM
from pier.containers.old_programs import has_old_programs
from pier.containers.parts import Parts
from pier.containers.requests import ExecSpec
from pier.containers.resources import DeviceNumber
from pier.containers.security import UNCONFINED, parse_security_options
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.containers.to_oci import OciInputs, ProcessUser
from pier.containers.users import NoSuchIdentity, NotQuick, resolve_user
from pier.errors import Conflict, Failed, InvalidArgument, PierError
from pier.linux.mount import Overlay, open_overlay
from pier.runtime import seccomp
from pier.runtime.mount_targets import Target, check_targets
from pier.threads import Bulkhead

APPARMOR_PROFILE = "docker-default"
BUILTIN = "builtin"
_THREADS = Bulkhead("looks at /etc/passwd", most=256, of_one=16)
"""The container may have put a file system there that never answers."""


class NotShareable(InvalidArgument):
    def __init__(self, container_id: str) -> None:
        super().__init__(
            f"failed to join IPC namespace: container {container_id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )


class PidNotJoined(Failed):
    def __init__(self, other: Container) -> None:
        super().__init__(f"failed to join PID namespace: container {other.id} is not running")


class IpcNotJoined(Conflict):
    def __init__(self, other: Container) -> None:
        super().__init__(f"failed to join IPC namespace: container {other.id} is not running")


class NetworkNotJoined(Conflict):
    def __init__(self, other: Container) -> None:
        super().__init__(
            "cannot join network namespace of a non running container: "
            f"container {other.name} is {other.state.value}"
        )


_NOT_JOINED: Mapping[str, Callable[[Container], PierError]] = {
    "pid": PidNotJoined,
    "ipc": IpcNotJoined,
    "network": NetworkNotJoined,
}


def running_container(parts: Parts, mode: str, kind: str) -> Container:
    """The running container that `container:<id>` names; kind: pid, ipc or network.

    Raises NotFound, PidNotJoined and its like.
    """
    other = parts.store.get(joined_container(mode) or "")
    if other.state not in (State.RUNNING, State.PAUSED):
        raise _NOT_JOINED[kind](other)
    return other


class Inputs:
    def __init__(self, parts: Parts, facts: HostFacts, links: Links) -> None:
        self._parts = parts
        self._links = links
        self._facts = facts

    async def for_start(
        self,
        container: Container,
        overlay: Overlay,
        *,
        netns_path: str | None,
        mounts: tuple[MountPoint, ...],
        files: Mapping[str, str],
    ) -> OciInputs:
        """Everything `to_oci` needs. netns_path None: the host's namespace.

        Raises TargetLedAway, and what `resolve_user` raises.
        """
        spec, defaults = container.spec, self._parts.defaults
        image = self._parts.images.find(container.image_id)
        architecture = image.config.architecture if image else ""
        inside = await asyncio.to_thread(_look_inside, overlay, spec, mounts, architecture)
        init = spec.host.init if spec.host.init is not None else defaults.init
        devices, blocks = await asyncio.to_thread(self._on_the_host, container)
        return OciInputs(
            container_id=container.id,
            spec=spec,
            facts=self._facts,
            user=inside.user,
            hostname=spec.hostname,
            namespaces=self._namespaces(container, netns_path),
            mounts=mounts,
            files=files,
            shm=self._shm(container),
            devices=devices,
            block_devices=blocks,
            cgroups_path=self.cgroups_path(container),
            seccomp=self._seccomp(container, socketcall=inside.old_programs),
            init=find_init(defaults.init_path) if init else "",
            default_ulimits=tuple(defaults.ulimits.values()),
            link_env=environment(container, self._links.of(container)),
            no_new_privileges=defaults.no_new_privileges,
            apparmor_default=APPARMOR_PROFILE if self._facts.apparmor else "",
        )

    def cgroups_path(self, container: Container) -> str:
        parent = container.spec.host.resources.cgroup_parent or self._parts.defaults.cgroup_parent
        return f"/{parent.strip('/')}/{container.id}"

    def joined(self, mode: str, kind: str) -> Container:
        """See `running_container`."""
        return running_container(self._parts, mode, kind)

    def check_links(self, container: Container) -> None:
        """Raises LinkedNotRunning."""
        self._links.check_running(container)

    def _namespaces(self, container: Container, netns_path: str | None) -> Namespaces:
        host = container.spec.host
        return Namespaces(
            network=HOST if netns_path is None else netns_path,
            pid=self._pids(host.pid_mode),
            ipc=self._joined_or(host.ipc_mode, "ipc"),
            uts=host_or_private(host.uts_mode),
            cgroup=cgroup_mode(host, cgroup_version=self._facts.cgroup_version),
        )

    def _pids(self, mode: str) -> str:
        if joined_container(mode):
            expose(self._parts.bundle(self.joined(mode, "pid").id))
        return self._joined_or(mode, "pid")

    def _joined_or(self, mode: str, kind: str) -> str:
        if not joined_container(mode):
            return host_or_private(mode)
        return f"/proc/{self.joined(mode, kind).status.pid}/ns/{kind}"

    def _shm(self, container: Container) -> str | None:
        """See OciInputs.shm."""
        match container.spec.host.ipc_mode:
            case "none":
                return None
            case "host":
                return HOST_SHM
            case "shareable":
                return str(self._parts.shm(container.id))
            case mode if joined_container(mode):
                other = self.joined(mode, "ipc")
                if other.spec.host.ipc_mode == "host":
                    return HOST_SHM
                if other.spec.host.ipc_mode != "shareable":
                    raise NotShareable(other.id)
                return str(self._parts.shm(other.id))
            case _:
                return ""

    def _on_the_host(
        self, container: Container
    ) -> tuple[list[DeviceNode], dict[str, DeviceNumber]]:
        """Device nodes, and the numbers of those with limits. Blocks: paths may be anywhere."""
        return self._devices(container), block_devices(container.spec.host.resources)

    def _devices(self, container: Container) -> list[DeviceNode]:
        asked = device_nodes(container.spec.host.resources.devices)
        if not container.spec.host.privileged:
            return asked
        taken = {node.path for node in asked}
        return asked + [node for node in host_devices() if node.path not in taken]

    def _seccomp(self, container: Container, *, socketcall: bool) -> Mapping[str, object] | None:
        host, default = container.spec.host, self._parts.defaults.seccomp_profile
        asked = parse_security_options(host.security_opt).seccomp
        if host.privileged and not asked:
            return None
        held = to_oci.process_capabilities(container.spec, self._facts, privileged=host.privileged)
        return seccomp_filter(asked or default, held, socketcall=socketcall)

    async def for_exec(self, container: Container, asked: ExecSpec) -> dict[str, object]:
        """The OCI process object of an exec. Raises InvalidArgument for an unknown user."""
        spec, host = container.spec, container.spec.host
        name = asked.user or spec.user
        try:
            user = self._exec_user(container, name, quick=True)
        except NotQuick:
            user = await _THREADS.run(lambda: self._exec_user(container, name), owner=container.id)
        privileged = asked.privileged or host.privileged
        held = to_oci.process_capabilities(spec, self._facts, privileged=privileged)
        security = parse_security_options(
            host.security_opt, no_new_privileges=self._parts.defaults.no_new_privileges
        )
        process: dict[str, object] = {
            "terminal": asked.tty,
            "user": to_oci.user_to_oci(user),
            "args": list(asked.cmd),
            "env": to_oci.environment(
                spec.env, added=asked.env, hostname=spec.hostname, tty=asked.tty, home=user.home
            ),
            "cwd": asked.working_dir or spec.working_dir or "/",
            "capabilities": to_oci.capabilities_to_oci(held),
            "noNewPrivileges": security.no_new_privileges,
            "oomScoreAdj": to_oci.oom_score_adj(host.oom_score_adj, self._facts),
            "rlimits": to_oci.process_rlimits(
                host.resources, tuple(self._parts.defaults.ulimits.values()), self._facts
            ),
        }
        default = "" if asked.privileged or not self._facts.apparmor else APPARMOR_PROFILE
        if profile := to_oci.apparmor_profile(spec, self._facts, security, default):
            process["apparmorProfile"] = profile
        return process

    def _exec_user(self, container: Container, user: str, *, quick: bool = False) -> ProcessUser:
        try:
            root = os.open(f"/proc/{container.status.pid}/root", os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            raise Conflict(f"container {container.id} is not running") from None
        try:
            return resolve_user(root, user, container.spec.host.group_add, quick=quick)
        except NoSuchIdentity as error:
            raise InvalidArgument(str(error)) from error
        finally:
            os.close(root)


def seccomp_filter(
    profile: str, held: Sequence[str], *, socketcall: bool = True
) -> Mapping[str, object] | None:
    """OCI linux.seccomp of "builtin", "unconfined" or a profile's JSON, with these capabilities.

    socketcall: see `default_profile`; a profile's JSON says so itself.
    """
    if profile == UNCONFINED:
        return None
    if profile == BUILTIN:
        return seccomp.default_profile(held, platform.machine(), socketcall=socketcall)
    kernel = tuple(int(part) for part in platform.release().split(".")[:2])
    return seccomp.from_docker_profile(
        profile, held, platform.machine(), kernel=(kernel[0], kernel[1])
    )


class _Inside(NamedTuple):
    user: ProcessUser
    old_programs: bool


def _look_inside(
    overlay: Overlay, spec: ContainerSpec, mounts: Sequence[MountPoint], architecture: str
) -> _Inside:
    root = open_overlay(overlay)
    try:
        check_targets(root, [_target(point) for point in mounts])
        user = resolve_user(root, spec.user, spec.host.group_add)
        return _Inside(user, has_old_programs(architecture, overlay.lower))
    finally:
        os.close(root)


def _target(point: MountPoint) -> Target:
    return Target(point.destination, (point.source,) if point.source else ())
