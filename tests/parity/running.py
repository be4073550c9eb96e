"""Runs a scenario's lines against an engine."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.daemon import SLOWNESS, Daemon, wait_until
from tests.parity.engine import IMAGE, Engine
from tests.parity.names import Names
from tests.parity.normal import Normaliser, format_size
from tests.parity.scenario import Command, Kind, Result, Scenario

_TIMEOUT_S = 20


class Runner:
    """One scenario's directory, environment and names."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._names = Names(engine)
        bridge = engine.get("/networks/bridge")["Options"]["com.docker.network.bridge.name"]
        size_bytes = engine.get(f"/images/{IMAGE}/json")["Size"]
        self._normaliser = Normaliser(
            {
                str(engine.socket): "<socket>",
                str(directory): "<directory>",
                engine.get("/info")["DockerRootDir"]: "<root>",
                f'"{bridge}"': '"<bridge>"',
                str(size_bytes): "<size of busybox>",
                format_size(size_bytes): "<size of busybox>",
            }
        )

    def result(self, command: Command) -> Result:
        """What the engine answers to a step. Called in the order of the file."""
        done = self._shell(command.line)
        return Result(
            self._normal(done.stdout, command.line),
            self._normal(done.stderr, command.line),
            done.returncode,
        )

    def prepare(self, command: Command) -> None:
        done = self._shell(command.line)
        words = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"{command.line}: {done.returncode}\n{words}"

    def wait(self, command: Command) -> None:
        wait_until(lambda: self._shell(command.line).returncode == 0, command.line)

    def _normal(self, output: bytes, line: str) -> str:
        text = output.decode(errors="backslashreplace")
        return self._normaliser.normal(self._names.replace(text), line)

    def _shell(self, line: str) -> subprocess.CompletedProcess[bytes]:
        """Exit code 124 if it hangs: that is a result, too."""
        return subprocess.run(
            ["timeout", "--kill-after=5", str(_TIMEOUT_S * SLOWNESS), "sh", "-c", line],
            cwd=self._directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._directory),
                "DOCKER_HOST": self._engine.host,
                "DOCKER_CONFIG": str(self._directory / ".docker"),
                "DOCKER_BUILDKIT": "0",
                "DOCKER_CLI_HINTS": "false",
                "SOCKET": str(self._engine.socket),
                "LC_ALL": "C",
                "TZ": "UTC",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


def run_scenario(scenario: Scenario, engine: Engine) -> Iterator[Result]:
    """The results of the steps, in their order. Begins and ends with an engine that is clear."""
    engine.clear()
    with tempfile.TemporaryDirectory(prefix="parity-") as directory:
        runner = Runner(engine, Path(directory))
        try:
            for part in scenario.parts:
                match part:
                    case Command(kind=Kind.STEP):
                        yield runner.result(part)
                    case Command(kind=Kind.WAIT):
                        runner.wait(part)
                    case Command():
                        runner.prepare(part)
        finally:
            engine.clear()


def make_archive(daemon: Daemon, archive: Path) -> None:
    """Save the scenarios' image, so that every engine has the same bits."""
    daemon.docker("pull", "-q", IMAGE)
    daemon.docker("save", "-o", str(archive), IMAGE)
    daemon.docker("rmi", IMAGE)
