"""A container's ingredients for the runtime's tests: a busybox root, a config.json, a log."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pier.linux import cgroup
from pier.linux.mount import Overlay
from pier.runtime.bundle import write_bundle
from pier.runtime.orders import ConsoleSize, LogOrder, MonitorOrder, RuntimeInfo

NAMES = ("sh", "true", "false", "cat", "echo", "sleep", "stty", "head", "dd", "yes", "seq", "kill")
PARENT = "/pier-test-runtime"


def make_layer(directory: Path) -> Path:
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (directory / name).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", directory / "bin/busybox")
    for name in NAMES:
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/secret").write_text("x")
    return directory


def runtime(name: str, state: Path) -> RuntimeInfo:
    path = shutil.which(name)
    assert path
    hybrid = cgroup.layout().version == 1
    return RuntimeInfo(name, path, str(state / name), hide_v2=hybrid)


def config(args: Sequence[str], group: str, *, terminal: bool = False, memory: int = 0) -> dict:
    capabilities = ["CAP_KILL", "CAP_SYS_ADMIN"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                kind: capabilities for kind in ("bounding", "effective", "permitted")
            },
        },
        "root": {"path": "rootfs"},
        "hostname": "test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
            },
        ],
        "linux": {
            "cgroupsPath": group,
            "resources": {"memory": {"limit": memory, "swap": memory}} if memory else {},
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        },
    }


class Bench:
    """Orders for containers in one directory."""

    def __init__(self, root: Path, name: str = "crun") -> None:
        self.root = root
        self.layer = make_layer(root / "layer")
        self.info = runtime(name, root / "state")
        self.count = 0

    def order(self, *args: str, memory: int = 0, log: LogOrder | None = None, **fields: object):
        self.count += 1
        container_id = f"{self.count:02d}" + self.root.name.encode().hex()[-40:]
        bundle = self.root / "bundles" / container_id
        group = f"{PARENT}/{container_id}"
        terminal = bool(fields.get("terminal"))
        write_bundle(bundle, config(args, group, terminal=terminal, memory=memory))
        for name in ("upper", "work"):
            (self.root / name / container_id).mkdir(parents=True)
        overlay = Overlay(
            (str(self.layer),),
            str(self.root / "upper" / container_id),
            str(self.root / "work" / container_id),
        )
        return MonitorOrder(
            container_id, bundle, self.info, overlay, log=log, cgroup=group, **fields
        )
