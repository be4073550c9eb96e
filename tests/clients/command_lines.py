"""Running a client, Docker's or Pier's, against a recording daemon, and comparing the two."""

import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.recording_daemon import Answers, Asked, RecordingDaemon

ROOT = Path(__file__).parents[2]
PIER = [sys.executable, "-m", "pier"]
DOCKER = ["docker"]
_UNSET: tuple[Any, ...] = (None, "", 0, False, [], {}, [0, 0])


@dataclass(frozen=True)
class Ran:
    """What one run did: its exit code, its words with the program's name left out, its requests."""

    code: int
    out: str
    err: str
    asked: list[Asked]


def run_client(
    program: list[str],
    line: str,
    answers: Answers,
    *,
    directory: Path | None = None,
    stdin: bytes = b"",
) -> Ran:
    """Run `program` with the words of `line` in `directory`."""
    with tempfile.TemporaryDirectory() as place:
        daemon = RecordingDaemon(Path(place), answers)
        try:
            done = subprocess.run(
                [*program, *shlex.split(line)],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": "/root",
                    "PYTHONPATH": str(ROOT),
                    "DOCKER_HOST": daemon.host,
                    "DOCKER_CONFIG": f"{place}/config",
                    "DOCKER_BUILDKIT": "0",
                    "DOCKER_CLI_HINTS": "false",
                },
                cwd=directory or ROOT,
                input=stdin,
                capture_output=True,
                timeout=60,
                check=False,
            )
        finally:
            daemon.close()
        return Ran(
            done.returncode,
            _neutral(done.stdout, place),
            _neutral(done.stderr, place),
            daemon.asked,
        )


def _neutral(output: bytes, place: str) -> str:
    text = output.decode("utf-8", "replace").replace(place, "PLACE")
    return text.replace("docker", "pier")


def meaning(value: Any) -> Any:
    """Return JSON without the fields that say nothing: an absent field means Docker's zero."""
    if isinstance(value, dict):
        fields = {key: meaning(item) for key, item in value.items() if item != ["EMPTY"]}
        return {
            key: item
            for key, item in fields.items()
            if item not in _UNSET and not (key == "MemorySwappiness" and item == -1)
        }
    return [meaning(item) for item in value] if isinstance(value, list) else value


def container_meaning(body: Any) -> Any:
    """Return what a create body asks for; where `[]` or false is not nothing, it is kept."""
    host = body.get("HostConfig", {})
    for key in ("MaskedPaths", "ReadonlyPaths"):
        if host.get(key) == []:
            host[key] = "none"
    if host.get("Init") is False:
        host["Init"] = "no"
    if body.get("Entrypoint") == [""]:
        body["Entrypoint"] = "none"
    for key in ("Binds",):
        host[key] = sorted(host.get(key) or [])
    body["Env"] = sorted(body.get("Env") or [])
    return meaning(body)
