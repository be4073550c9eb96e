"""The engines that are compared: each started with roots of its own, and removed whole.

dockerd runs in a network namespace of its own: two engines that manage iptables break each
other's rules. podman has no daemon; its commands get its roots as flags.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from typing_extensions import override

PATIENCE_S = 60.0
REGISTRY = "10.217.0.1:5077"
"""Where `bench.registry` serves."""


class Engine:
    """One engine. `client` is how a person calls it."""

    name = ""
    client: Sequence[str] = ()
    insecure: Sequence[str] = ()
    """Flags of pull and push for a registry without TLS."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        return [*self.client, *arguments]

    def call(
        self, *arguments: str, stdin: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command to its end; raises CalledProcessError."""
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            return subprocess.run(
                self.command(*arguments), stdin=source, capture_output=True, check=True
            )

    def start(self) -> None:
        """Nothing to start for an engine without a daemon."""

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            ids = self.call("ps", "-aq").stdout.decode().split()
            if ids:
                self.call("rm", "-f", *ids)
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        shutil.rmtree(self.root, ignore_errors=True)

    def pids(self) -> list[int]:
        """The processes that are there while no container runs."""
        return [] if self.process is None else descendants(self.process.pid)

    def _launch(self, argv: Sequence[str]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(self.command("version"), capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} does not start: {(self.root / 'log').read_text()}")
            time.sleep(0.1)


class Pier(Engine):
    name = "pier"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.host = f"unix://{root}/pier.sock"
        self.client = ("docker", "-H", self.host)
        self.own_client = (sys.executable, "-m", "pier", "-H", self.host)

    @override
    def start(self) -> None:
        self._launch(
            [
                sys.executable, "-m", "pier", "daemon", "-H", self.host,
                "--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec",
                "--bridge", "pbench0", "--bip", "10.215.0.1/16", "--group", "",
                "--cgroup-parent", "/pier-bench", "--insecure-registry", REGISTRY,
            ]
        )  # fmt: skip

    @override
    def stop(self) -> None:
        super().stop()
        subprocess.run(["ip", "link", "del", "pbench0"], capture_output=True, check=False)


class Dockerd(Engine):
    name = "dockerd"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.host = f"unix://{root}/docker.sock"
        self.client = ("docker", "-H", self.host)

    @override
    def start(self) -> None:
        flags = (
            f"-H {self.host} --data-root {self.root}/data --exec-root {self.root}/exec "
            f"--pidfile {self.root}/pid --bip 10.216.0.1/16 --insecure-registry {REGISTRY}"
        )
        script = f"ip link set lo up; exec dockerd {flags}"
        self._launch(["unshare", "--net", "sh", "-c", script])


class Podman(Engine):
    name = "podman"
    insecure = ("--tls-verify=false",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        root.mkdir(parents=True, exist_ok=True)
        self.client = (
            "podman", "--root", f"{root}/data", "--runroot", f"{root}/run",
            "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc",
        )  # fmt: skip

    @override
    def command(self, *arguments: str) -> list[str]:
        """Without CAP_SYS_RESOURCE podman's own default limits could not be set."""
        if arguments[0] == "run":
            arguments = ("run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
                         *arguments[1:])  # fmt: skip
        if arguments[0] == "rm":  # it would wait ten seconds for each `sleep`
            arguments = ("rm", "--time", "0", *arguments[1:])
        return super().command(*arguments)


@contextlib.contextmanager
def running(kinds: Sequence[type[Engine]], root: Path) -> Iterator[list[Engine]]:
    """Those of `kinds` that are installed, started; all removed at the end."""
    engines: list[Engine] = []
    try:
        for kind in kinds:
            if kind is not Pier and shutil.which(kind.name) is None:
                sys.stderr.write(f"{kind.name} is not installed: left out\n")
                continue
            engine = kind(root / kind.name)
            engines.append(engine)
            engine.start()
        yield engines
    finally:
        for engine in engines:
            engine.stop()


def descendants(pid: int) -> list[int]:
    """`pid` and all below it."""
    found = [pid]
    for number in found:
        children = Path(f"/proc/{number}/task/{number}/children")
        with contextlib.suppress(OSError):
            found += [int(child) for child in children.read_text().split()]
    return found


def pss_kib(pids: Sequence[int]) -> int:
    """Proportional set size of processes together, KiB. proc(5), smaps_rollup."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


os.environ.setdefault("DOCKER_CLI_HINTS", "false")
