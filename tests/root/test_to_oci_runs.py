"""The configuration that to_oci makes, run by the real runtimes."""

import contextlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pier.containers.capabilities import DEFAULT, KERNEL
from pier.containers.devices import DeviceNode
from pier.containers.facts import HostFacts
from pier.containers.model import MountPoint
from pier.containers.namespaces import HOST, Namespaces
from pier.containers.spec import MIB, ContainerSpec, HostSpec, Resources, Ulimit
from pier.containers.to_oci import OciInputs, ProcessUser, to_oci
from pier.linux import syscalls
from pier.runtime.seccomp import default_profile

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]

V2 = Path("/sys/fs/cgroup/unified")
VERSION = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


def held_capabilities() -> tuple[str, ...]:
    status = Path("/proc/self/status").read_text()
    mask = int(status.partition("CapEff:")[2].split()[0], 16)
    return tuple(name for bit, name in enumerate(KERNEL) if mask >> bit & 1)


FACTS = HostFacts(
    capabilities=held_capabilities(),
    cpus=os.cpu_count() or 1,
    cgroup_version=VERSION,
    raises_limits="CAP_SYS_RESOURCE" in held_capabilities(),
    hard_limits={"nofile": 1000},
    thermal_throttle=("/sys/devices/system/cpu/cpu0/thermal_throttle",),
)


@dataclass
class Bundle:
    directory: Path
    runtime: str
    name: str

    def run(self, script: str, host: HostSpec | None = None, **inputs: Any) -> str:
        """What `sh -c script` printed, stderr too. Any: whatever OciInputs takes."""
        spec = inputs.pop("spec", ContainerSpec())
        spec = replace(spec, entrypoint=("sh", "-c"), cmd=(script,), host=host or HostSpec())
        defaults: dict[str, Any] = {
            "container_id": self.name,
            "facts": FACTS,
            "hostname": "box",
            "cgroups_path": f"/pier-test-{self.name}/{self.name}",
            "seccomp": default_profile(DEFAULT, platform.machine()),
            "namespaces": Namespaces(cgroup=HOST),
        }
        config = to_oci(OciInputs(spec=spec, **{**defaults, **inputs}))
        (self.directory / "config.json").write_text(json.dumps(config))
        return self._execute(["run", "--bundle", str(self.directory), self.name])

    def _execute(self, arguments: list[str]) -> str:
        output = self.directory / "output"
        child = os.fork()
        if child == 0:
            try:
                self._become(arguments, output)
            except BaseException as error:
                output.write_text(repr(error))
            os._exit(120)
        os.waitpid(child, 0)
        return output.read_text()

    def _become(self, arguments: list[str], output: Path) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
        if V2.is_dir():  # crun refuses hybrid hosts
            with contextlib.suppress(OSError):
                syscalls.umount2(str(V2), syscalls.MNT_DETACH)
        fd = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.execv(self.runtime, [self.runtime, "--root", f"{self.directory}/state", *arguments])

    def remove(self) -> None:
        self._execute(["delete", "--force", self.name])
        for path in Path("/sys/fs/cgroup").glob(f"**/pier-test-{self.name}"):
            for inner in (path / self.name, path):
                with contextlib.suppress(FileNotFoundError):
                    inner.rmdir()


@pytest.fixture(params=["crun", "runc"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bundle]:
    runtime = shutil.which(request.param)
    if runtime is None:
        pytest.skip(f"{request.param} is not installed")
    root = tmp_path / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in (
        "sh",
        "cat",
        "id",
        "ls",
        "mount",
        "touch",
        "hostname",
        "unshare",
        "grep",
        "env",
        "dd",
    ):
        (root / "bin" / name).symlink_to("busybox")
    made = Bundle(tmp_path, runtime, secrets.token_hex(8))
    yield made
    made.remove()


def test_an_ordinary_container_is_what_docker_makes(bundle: Bundle) -> None:
    said = bundle.run(
        "hostname; env; id; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; ls /dev; "
        "cat /proc/timer_list; unshare -m true; echo 0 > /proc/sys/kernel/panic"
    )
    assert said.startswith("box\n"), said
    assert "HOSTNAME=box" in said
    assert "uid=0 gid=0" in said
    assert "CapBnd:\t00000000a80425fb" in said
    assert "Seccomp:\t2" in said
    assert "ptmx" in said
    assert "unshare: unshare(0x20000): Operation not permitted" in said
    assert "Read-only file system" in said


def test_limits_reach_the_cgroup(bundle: Bundle) -> None:
    host = HostSpec(
        resources=Resources(
            memory=32 * MIB, nano_cpus=500_000_000, pids_limit=20, cpu_shares=512, cpuset_cpus="0",
            ulimits=(Ulimit(name="nofile", soft=64, hard=10**6),),
        ),
        oom_score_adj=500,
    )  # fmt: skip
    facts = replace(FACTS, memory_swappiness=VERSION == 1)
    said = bundle.run(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us "
        "pids/pids.max cpu/cpu.shares memory.max 2>/dev/null; ulimit -n; "
        "cat /proc/self/oom_score_adj",
        host, facts=facts, namespaces=Namespaces(),
    )  # fmt: skip
    for value in (str(32 * MIB), "64", "500"):
        assert value in said.split(), said


def test_mounts_are_made_as_asked(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    points = (
        MountPoint(kind="bind", destination="/ro", source=f"{tmp_path}/source", writable=False),
        MountPoint(kind="bind", destination="/rw", source=f"{tmp_path}/source"),
        MountPoint(kind="tmpfs", destination="/scratch", options="size=1m,mode=1777"),
    )
    said = bundle.run(
        "touch /rw/a; touch /ro/b; touch /root-b; touch /scratch/c && ls /scratch; cat /etc/hosts;"
        "mount | grep -E ' /(scratch|dev/shm|ro) '",
        HostSpec(readonly_rootfs=True, shm_size=MIB),
        mounts=points,
        files={"/etc/hosts": f"{tmp_path}/hosts"},
    )
    assert (tmp_path / "source/a").exists()
    assert "touch: /ro/b: Read-only file system" in said
    assert "touch: /root-b: Read-only file system" in said
    assert "c\n127.0.0.1 localhost" in said
    assert "size=1024k" in said


def test_a_user_without_privileges(bundle: Bundle) -> None:
    user = ProcessUser(uid=1000, gid=1000, additional_gids=(5,), home="/home/u")
    said = bundle.run(
        "id; env; grep -E 'CapEff|NoNewPrivs' /proc/self/status",
        HostSpec(security_opt=("no-new-privileges",)),
        user=user,
    )
    assert "uid=1000 gid=1000 groups=5" in said, said
    assert "HOME=/home/u" in said
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said


def test_a_privileged_container(bundle: Bundle) -> None:
    node = DeviceNode(path="/dev/mynull", kind="c", major=1, minor=3)
    said = bundle.run(
        "grep CapEff /proc/self/status; mount -t tmpfs t /tmp && touch /tmp/x && ls /tmp /dev",
        HostSpec(privileged=True),
        seccomp=None,
        devices=(node,),
    )
    mask = sum(1 << bit for bit, name in enumerate(KERNEL) if name in FACTS.capabilities)
    assert f"CapEff:\t{mask:016x}" in said, said
    assert "mynull" in said


def test_sysctls_domain_and_devices(bundle: Bundle) -> None:
    node = DeviceNode(path="/dev/my/zero", kind="c", major=1, minor=5, mode=0o600)
    said = bundle.run(
        "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_unprivileged_port_start "
        "/proc/sys/kernel/domainname; ls -l /dev/my/zero; dd if=/dev/my/zero bs=1 count=1 2>&1",
        HostSpec(sysctls={"net.core.somaxconn": "77"}),
        devices=(node,),
        spec=ContainerSpec(domainname="example.com"),
    )
    assert said.startswith("77\n0\nexample.com\ncrw-------"), said
    assert "1+0 records out" in said
