"""Starting real daemons in tests, and talking to them with the real clients."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import override

SLOWNESS = float(os.environ.get("PIER_TEST_SLOWNESS", "1"))
"""More on a machine that is emulated, say: how much longer everything may take."""
PATIENCE_S = 30.0 * SLOWNESS
NUMBERS = 250


def claim_number(start: int) -> tuple[int, socket.socket]:
    """A number for a subnet and a bridge that no test on this machine uses, until it is closed."""
    for offset in range(NUMBERS):
        number = (start + offset) % NUMBERS
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0pier-test-{number}")
        except OSError:
            claim.close()
        else:
            return number, claim
    raise AssertionError("every number is taken")


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.02)


_starts = itertools.count(os.getpid() % NUMBERS)


class Daemon:
    """One `pier daemon` below `root`. As a context manager it is started and removed whole."""

    def __init__(self, root: Path, *flags: str, bridge: str = "") -> None:
        number, self._claim = claim_number(next(_starts))
        self.root = root
        self.data_root = root / "data"
        self.exec_root = root / "exec"
        self.socket = root / "pier.sock"
        self.bridge = bridge or f"ptst{number}"
        self.subnet = f"10.214.{number}"
        self.flags = flags
        self.log = root / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def argv(self) -> list[str]:
        return [
            sys.executable, "-m", "pier", "daemon",
            "--host", self.host,
            "--data-root", str(self.data_root),
            "--exec-root", str(self.exec_root),
            "--bridge", self.bridge,
            "--bip", f"{self.subnet}.1/24",
            "--cgroup-parent", f"/pier-test/{self.bridge}",
            "--group", "",
            "--debug",
            *self.flags,
        ]  # fmt: skip

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, "the daemon answers")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended:\n{self.log.read_text()[-4000:]}")
        return self.api("GET", "/_ping", quiet=True)[0] == 200

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """kill -9: what a crash is."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextlib.contextmanager
    def adopted(self) -> Iterator["Daemon"]:
        """For a process the test started itself: removed like one of ours."""
        try:
            yield self
        finally:
            self.__exit__(None, None, None)

    def __enter__(self) -> "Daemon":
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove all containers through the daemon, stop it, and remove its files."""
        with contextlib.suppress(Exception):
            if self.process is not None and self.process.poll() is not None:
                self.start()
            self.remove_all()
        self.stop()
        if kind is not None:
            sys.stderr.write(self.log.read_text()[-3000:])
        self._remove_devices()
        self._claim.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def remove_all(self) -> None:
        ids = self.docker("ps", "-aq").split()
        if ids:
            self.docker("rm", "-fv", *ids)

    def _remove_devices(self) -> None:
        """What a clean stop may leave for the next start: the bridge and the groups' parent."""
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)
        groups = Path("/sys/fs/cgroup")
        for parent in (*groups.glob("pier-test"), *groups.glob("*/pier-test")):
            for group in (parent / self.bridge, parent):
                with contextlib.suppress(OSError):  # gone already, or another daemon's too
                    group.rmdir()

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 90
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "DOCKER_HOST": self.host, "PIER_HOST": self.host}
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env=environment,
            timeout=timeout_s * SLOWNESS,
            check=False,
        )

    def docker(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> str:
        """Run the official client; its output. Fails unless it exits with `status`."""
        return self._checked(["docker", *arguments], stdin, status)

    def pier(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> str:
        """Run Pier's own client; its output. Fails unless it exits with `status`."""
        return self._checked([sys.executable, "-m", "pier", *arguments], stdin, status)

    def _checked(self, argv: list[str], stdin: bytes, status: int) -> str:
        done = self.run(argv, stdin=stdin)
        output = done.stdout.decode(errors="replace")
        errors = done.stderr.decode(errors="replace")
        assert done.returncode == status, f"{argv}: {done.returncode}\n{output}\n{errors}"
        return output + errors if status else output

    def api(
        self, method: str, path: str, body: object = None, *, quiet: bool = False
    ) -> tuple[int, Any]:  # Any: foreign JSON
        """One request: status and decoded body. Status 0 if it is `quiet` and nobody answers."""
        try:
            return request(self.socket, method, path, body)
        except OSError:
            if quiet:
                return 0, None
            raise


def request(
    socket_path: Path, method: str, path: str, body: object = None
) -> tuple[int, Any]:  # Any: foreign JSON
    """One request to the engine behind a socket, Pier or dockerd: status and decoded body."""

    class Connection(http.client.HTTPConnection):
        @override
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(60 * SLOWNESS)
            self.sock.connect(str(socket_path))

    connection = Connection("localhost")
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(data)
    except ValueError:
        return answer.status, data.decode(errors="replace")
