"""The writable layer, volumes, binds, tmpfs, cp, commit, export, save and load."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until


def test_the_volume_of_the_mission(daemon: Daemon) -> None:
    """`run -d --name test --mount source=myvol,target=/app IMAGE`, as written."""
    daemon.docker("run", "-d", "--name", "test", "--mount", "source=myvol,target=/app", "busybox",
                  "sleep", "300")  # fmt: skip
    daemon.docker("exec", "test", "sh", "-c", "echo kept > /app/file")
    daemon.docker("rm", "-f", "test")
    assert daemon.docker("run", "--rm", "-v", "myvol:/x:ro", "busybox", "cat", "/x/file") == (
        "kept\n"
    )
    assert "myvol" in daemon.docker("volume", "ls", "-q")
    daemon.docker("volume", "rm", "myvol")


def test_a_new_volume_takes_over_what_the_image_has(daemon: Daemon) -> None:
    shown = daemon.docker("run", "--rm", "-v", "/etc", "busybox", "cat", "/etc/passwd")
    assert "root" in shown
    assert daemon.docker("volume", "ls", "-q") == ""  # anonymous: gone with --rm


def test_binds_and_tmpfs(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("from the host\n")
    assert daemon.docker("run", "--rm", "-v", f"{tmp_path}:/h:ro", "busybox", "cat", "/h/f") == (
        "from the host\n"
    )
    assert daemon.docker(
        "run", "--rm", "-v", f"{tmp_path}/f:/new:ro", "busybox", "cat", "/new"
    ) == ("from the host\n")
    daemon.docker("run", "--rm", "-v", f"{tmp_path}:/h:ro", "busybox", "touch", "/h/x", status=1)
    daemon.docker("run", "--rm", "-v", f"{tmp_path}/made:/h", "busybox", "touch", "/h/x")
    assert (tmp_path / "made" / "x").exists()
    shown = daemon.docker("run", "--rm", "--tmpfs", "/t:size=5m", "busybox", "df", "-m", "/t")
    assert " 5 " in shown


def test_read_only(daemon: Daemon) -> None:
    daemon.docker("run", "--rm", "--read-only", "busybox", "touch", "/x", status=1)
    daemon.docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", "busybox", "touch", "/tmp/x")


def test_cp_both_ways_running_and_stopped(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("copied\n")
    daemon.docker("create", "--name", "box", "-v", "cpvol:/vol", "busybox", "sleep", "300")
    daemon.docker("cp", str(tmp_path / "in"), "box:/stopped")
    daemon.docker("cp", str(tmp_path / "in"), "box:/vol/invol")
    daemon.docker("start", "box")
    assert daemon.docker("exec", "box", "cat", "/stopped", "/vol/invol") == "copied\ncopied\n"
    daemon.pier("cp", str(tmp_path / "in"), "box:/running")
    daemon.pier("cp", "box:/running", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "copied\n"
    daemon.docker("exec", "box", "ln", "-s", "/etc/../../../../etc", "/escape")
    inside = daemon.docker("exec", "box", "cat", "/etc/hostname")
    daemon.docker("cp", "box:/escape/hostname", str(tmp_path / "hostname"))
    assert (tmp_path / "hostname").read_text() == inside
    daemon.docker("rm", "-f", "-v", "box")
    daemon.docker("volume", "rm", "cpvol")


def test_diff_commit_export(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("run", "--name", "worked", "busybox", "sh", "-c", "echo x > /new; rm /etc/group")
    assert set(daemon.docker("diff", "worked").splitlines()) >= {"A /new", "C /etc", "D /etc/group"}
    daemon.docker("commit", "-c", 'CMD ["cat", "/new"]', "worked", "result:1")
    assert daemon.docker("run", "--rm", "result:1") == "x\n"
    daemon.docker("run", "--rm", "result:1", "test", "-e", "/etc/group", status=1)
    daemon.docker("export", "-o", str(tmp_path / "tar"), "worked")
    with tarfile.open(tmp_path / "tar") as exported:
        names = exported.getnames()
    assert "new" in names
    assert "etc/group" not in names
    daemon.docker("rm", "worked")
    daemon.docker("rmi", "result:1")


def test_save_and_load(daemon: Daemon, tmp_path: Path) -> None:
    before = daemon.docker("inspect", "-f", "{{.Id}}", "busybox")
    daemon.docker("tag", "busybox", "saved:1")
    archive = tmp_path / "saved.tar"
    daemon.docker("save", "-o", str(archive), "saved:1")
    daemon.docker("rmi", "saved:1")
    assert "Loaded image: saved:1" in daemon.docker("load", "-i", str(archive))
    assert daemon.docker("inspect", "-f", "{{.Id}}", "saved:1") == before
    daemon.docker("rmi", "saved:1")


def test_import(daemon: Daemon) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"hi\n"))
    daemon.docker("import", "-", "imported:1", stdin=stream.getvalue())
    daemon.docker("create", "--name", "frozen", "imported:1", "x")
    copied = daemon.run(["docker", "cp", "frozen:/hello", "-"]).stdout
    assert b"hi\n" in copied
    daemon.docker("rm", "frozen")
    daemon.docker("rmi", "imported:1")


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_all_of_a_running_container_can_be_copied(
    daemon: Daemon, tmp_path: Path, client: str
) -> None:
    """/proc and the like are empty then; what was asked for by its name is there."""
    script = "touch /vol/v /scratch/s /dev/shm/m; sleep 300"
    daemon.docker("run", "-d", "--name", "whole", "-v", "wholevol:/vol", "--tmpfs", "/scratch",
                  "busybox", "sh", "-c", script)  # fmt: skip
    call = getattr(daemon, client)
    try:
        wait_until(lambda: "m" in daemon.docker("exec", "whole", "ls", "/dev/shm"), "it is there")
        call("cp", "whole:/", str(tmp_path / "root"))
        root = tmp_path / "root"
        assert {path.name for path in (root / "vol").iterdir()} == {"v"}
        assert {path.name for path in (root / "scratch").iterdir()} == {"s"}
        for name in ("proc", "sys", "dev"):
            assert list((root / name).iterdir()) == []
        call("cp", "whole:/dev/shm", str(tmp_path / "shm"))
        assert [path.name for path in (tmp_path / "shm").iterdir()] == ["m"]
    finally:
        daemon.docker("rm", "-f", "whole")
        daemon.docker("volume", "rm", "wholevol")


def test_links_that_vanish_do_not_end_a_copy(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "busy", "busybox", "sh", "-c",
                  "mkdir /d; while :; do for i in 1 2 3 4 5 6 7 8; do ln -s x /d/$i; done; "
                  "rm -f /d/*; done")  # fmt: skip
    try:
        wait_until(lambda: daemon.run(["docker", "exec", "busy", "ls", "/d"]).returncode == 0, "/d")
        for _ in range(20):
            done = daemon.run(["docker", "cp", "busy:/d", "-"])
            assert done.returncode == 0, done.stderr
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                archive.getmembers()
    finally:
        daemon.docker("rm", "-f", "busy")
