"""A whole daemon on a kernel that does not take layers one by one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from tests.daemon import Daemon

LAYERS = 119


class OldDaemon(Daemon):
    @property
    @override
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "tests.old_kernel", *super().argv]


@pytest.fixture(scope="module")
def old_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with OldDaemon(tmp_path_factory.mktemp("daemon")) as running:
        running.docker("pull", "-q", "busybox")
        yield running


def test_a_container_lives_its_life(old_daemon: Daemon, tmp_path: Path) -> None:
    daemon = old_daemon
    mounts = Path("/proc/mounts").read_text().count("overlay")
    daemon.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo a > /a; sleep 300")
    assert daemon.docker("exec", "box", "cat", "/a") == "a\n"
    assert Path("/proc/mounts").read_text().count("overlay") == mounts
    daemon.docker("stop", "-t", "0", "box")
    daemon.docker("cp", "box:/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "a\n"
    assert "A /a" in daemon.docker("diff", "box").splitlines()
    daemon.docker("start", "box")
    assert daemon.docker("exec", "box", "cat", "/a") == "a\n"
    daemon.docker("rm", "-f", "box")
    daemon.docker("run", "--rm", "--read-only", "busybox", "touch", "/x", status=1)


def test_an_image_of_as_many_layers_as_docker_allows_is_built_and_run(
    old_daemon: Daemon, tmp_path: Path
) -> None:
    lines = ["FROM busybox", *(f"COPY f /f{number}" for number in range(LAYERS))]
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    (tmp_path / "f").write_text("f")
    old_daemon.pier("build", "-q", "-t", "many", str(tmp_path))
    count = old_daemon.docker("inspect", "-f", "{{len .RootFS.Layers}}", "many")
    assert int(count) > LAYERS
    script = "ls -d /f[0-9]* | wc -l; echo x > /new; cat /new"
    assert old_daemon.docker("run", "--rm", "many", "sh", "-c", script) == f"{LAYERS}\nx\n"
