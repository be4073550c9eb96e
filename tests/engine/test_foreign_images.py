"""Images of another platform: a warning, and what happens if they are run all the same."""

import io
import platform
import tarfile

import pytest

from tests.daemon import Daemon

OTHER = "s390x" if platform.machine() != "s390x" else "riscv64"


@pytest.fixture(scope="module")
def image(daemon: Daemon) -> str:
    """Of one file, which is executable and no program of this machine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("program")
        member.mode, member.size = 0o755, 16
        tar.addfile(member, io.BytesIO(b"\x7fELF\2\2\1".ljust(16, b"\0")))
    daemon.docker(
        "import", "--platform", f"linux/{OTHER}", "-", "foreign", stdin=archive.getvalue()
    )
    return "foreign"


def run(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    done = daemon.run(["docker", *arguments])
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_foreign_program_says_what_docker_says(daemon: Daemon, image: str) -> None:
    code, output, errors = run(daemon, "run", "--name", "foreigner", image, "/program")
    warning, said = errors.splitlines()
    begin = f"WARNING: The requested image's platform (linux/{OTHER}) does not match the detected"
    assert warning.startswith(f"{begin} host platform (linux/")
    assert warning.endswith(") and no specific platform was requested")
    assert (code, output, said) == (255, "", "exec /program: exec format error")
    assert run(daemon, "logs", "foreigner") == (0, "", "exec /program: exec format error\n")
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "foreigner") == "255\n"
    daemon.docker("rm", "foreigner")


def test_who_asks_for_the_platform_is_not_warned(daemon: Daemon, image: str) -> None:
    asked = ("run", "--rm", "--platform", f"linux/{OTHER}", image, "/program")
    assert run(daemon, *asked) == (255, "", "exec /program: exec format error\n")
    code, output, errors = run(daemon, "run", "--rm", "-t", *asked[2:])
    assert (code, output, errors) == (255, "exec /program: exec format error\r\n", "")
