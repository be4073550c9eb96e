"""A container that does its worst: the host, the daemon and its neighbours do not notice.

What it changes while the daemon works on its files must lead nowhere else; what it writes, asks
and forks without end must stay within its own bounds.
"""

import contextlib
import errno
import io
import os
import platform
import shutil
import socket
import struct
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until

SWAP = """
mkdir -p /play/dir; echo inside > /play/dir/file
while :; do
    mv /play/dir /play/was; ln -s {host} /play/dir; rm /play/dir; mv /play/was /play/dir
done
"""


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host; whatever happens, it stays as it is."""
    place = tmp_path / "precious"
    place.mkdir()
    (place / "file").write_text("precious")
    yield place
    assert [path.name for path in place.iterdir()] == ["file"]
    assert (place / "file").read_text() == "precious"


@contextlib.contextmanager
def running(daemon: Daemon, name: str, script: str, *options: str) -> Iterator[None]:
    daemon.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c", script)
    try:
        yield
    finally:
        daemon.docker("rm", "-fv", name)


def test_links_swapped_during_copies_lead_nowhere(
    daemon: Daemon, precious: Path, tmp_path: Path
) -> None:
    (tmp_path / "evil").write_text("evil")
    with running(daemon, "swap", SWAP.format(host=precious)):
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            daemon.run(["docker", "cp", str(tmp_path / "evil"), "swap:/play/dir/evil"])
            daemon.run(["docker", "cp", str(tmp_path / "evil"), "swap:/play/dir"])
            daemon.run(["rm", "-rf", str(tmp_path / "out")])
            daemon.run(["docker", "cp", "-L", "swap:/play/dir", str(tmp_path / "out")])
            out = tmp_path / "out"
            if not out.is_symlink() and (out / "file").exists():  # a link itself may be copied
                assert (out / "file").read_text() == "inside\n"
        export = daemon.run(["docker", "export", "swap"]).stdout
    assert b"precious\n" not in export


def test_links_swapped_in_a_volume_lead_nowhere(daemon: Daemon, precious: Path) -> None:
    """A part of the volume is mounted, and the volume filled, while another container swaps."""
    with running(daemon, "swap", SWAP.format(host=precious), "-v", "shared:/play"):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            mount = "type=volume,source=shared,target=/part,volume-subpath=dir"
            done = daemon.run(
                ["docker", "run", "--rm", "--mount", mount, "busybox", "cat", "/part/file"]
            )
            assert done.stdout.strip() in (b"", b"inside")
    with running(daemon, "swap2", SWAP.format(host=precious) + "rm -rf /play/*", "-v", "up:/play"):
        for _ in range(5):
            made = daemon.run(["docker", "create", "-v", "up:/etc", "busybox"]).stdout.decode()
            daemon.docker("rm", made.strip())
    daemon.docker("volume", "rm", "-f", "shared", "up")


def test_a_commit_while_the_tree_changes_has_nothing_of_the_host(
    daemon: Daemon, precious: Path
) -> None:
    with running(daemon, "swap", SWAP.format(host=precious)):
        for _ in range(3):
            daemon.docker("commit", "--pause=false", "swap", "swapped")
            saved = daemon.run(["docker", "save", "swapped"]).stdout
            assert b"precious\n" not in saved
            daemon.docker("rmi", "swapped")


def test_a_process_has_its_own_descriptors_only(daemon: Daemon) -> None:
    """Of PID 1 and of execs, with and without a terminal, by any runtime that works here."""
    script = "for fd in /proc/self/fd/*; do readlink $fd || true; done; exec sleep 600"
    for runtime in ("crun", "runc"):
        with running(daemon, f"fds-{runtime}", script, "--runtime", runtime):
            wait_until(lambda: daemon.docker("logs", f"fds-{runtime}"), "it has looked")  # noqa: B023
            seen = daemon.docker("logs", f"fds-{runtime}").splitlines()
            for options in ((), ("-u", "1000")):
                seen += daemon.docker(
                    "exec", *options, f"fds-{runtime}", "sh", "-c", script.rpartition(";")[0]
                ).splitlines()
        odd = [
            link
            for link in seen
            if not link.startswith(("pipe:", "/dev/", "/proc/")) or str(daemon.root) in link
        ]
        assert not odd, seen
        assert len(seen) < 20


def test_nothing_of_the_host_is_written_by_proc_self_exe(daemon: Daemon) -> None:
    """CVE-2019-5736: the runtime's or the interpreter's own file, opened again for writing."""
    script = (
        "printf '#!/proc/self/exe\\n' > /tmp/own; chmod +x /tmp/own;"
        "while :; do for p in /proc/[0-9]*; do"
        ' case "$(readlink $p/exe)" in /bin/*) ;; *) echo x 2>/dev/null > $p/exe;; esac;'
        " done; done 2>/dev/null"
    )
    programs = [Path(shutil.which(name) or "/") for name in ("crun", "runc")]
    programs.append(Path(os.path.realpath("/proc/self/exe")))
    before = [(p.stat().st_mtime_ns, p.stat().st_size) for p in programs]
    with running(daemon, "exe", script):
        for _ in range(5):
            daemon.run(["docker", "exec", "exe", "/tmp/own"])
            daemon.run(["docker", "exec", "exe", "/proc/self/exe"])
            daemon.run(["docker", "exec", "-t", "exe", "true"])
    assert [(p.stat().st_mtime_ns, p.stat().st_size) for p in programs] == before


def program(family: int, kind: int) -> bytes:
    """A 32-bit ELF program: exit(socketcall(SYS_SOCKET, {family, kind, 0}))."""
    base, head = 0x08048000, 52 + 32
    data = base + head + 26
    code = b"\xb8\x66\0\0\0\xbb\1\0\0\0\xb9" + struct.pack("<I", data) + b"\xcd\x80"
    code += b"\x89\xc3\xb8\1\0\0\0\xcd\x80" + struct.pack("<III", family, kind, 0)
    size = head + len(code)
    magic = b"\x7fELF\1\1\1" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + head, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return magic + header + struct.pack("<8I", 1, 0, base, base, size, size, 5, 4096) + code


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86")
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_the_32_bit_abi_is_no_way_to_sockets_nobody_else_gets(
    daemon: Daemon, tmp_path: Path, runtime: str
) -> None:
    inet, vsock = tmp_path / "inet", tmp_path / "vsock"
    inet.write_bytes(program(socket.AF_INET, socket.SOCK_STREAM))
    vsock.write_bytes(program(socket.AF_VSOCK, socket.SOCK_STREAM))
    for path in (inet, vsock):
        path.chmod(0o755)
    if subprocess.run([inet], check=False).returncode not in range(3, 10):
        pytest.skip("this kernel runs no 32-bit programs")

    def run(image: str, name: str) -> int:
        argv = ["docker", "run", "--rm", "--runtime", runtime, "-v", f"{tmp_path}:/p:ro", image]
        return daemon.run([*argv, f"/p/{name}"]).returncode

    refused = 256 - errno.EPERM
    assert (run("busybox", "inet"), run("busybox", "vsock")) == (refused, refused)
    dockerfile = b"FROM busybox\nRUN mkdir -p /lib && touch /lib/ld-linux.so.2\n"
    daemon.docker("build", "-q", "-t", "old", "-", stdin=dockerfile)
    assert run("old", "inet") in range(3, 10)  # what 32-bit programs of glibc cannot do without
    with running(
        daemon, f"own-{runtime}", "sleep 600", "--runtime", runtime, "-v", f"{tmp_path}:/p"
    ):
        made = ("exec", f"own-{runtime}", "sh", "-c", "mkdir -p /lib; touch /lib/ld-linux.so.2")
        daemon.docker(*made)
        daemon.docker("restart", "-t", "0", f"own-{runtime}")
        daemon.docker("exec", f"own-{runtime}", "/p/vsock", status=refused)


def test_names_may_be_any_bytes(daemon: Daemon) -> None:
    script = (
        'mkdir -p /odd/.wh.etc; touch "/odd/$(printf "a\\377")" "/odd/$(printf "new\\nline")";'
        ' ln -s "$(printf "/t\\377")" /odd/link; printf "\\377\\n"; sleep 600'
    )
    with running(daemon, "odd", script):
        wait_until(lambda: daemon.docker("logs", "odd"), "it has begun")
        status, changes = daemon.api("GET", "/containers/odd/changes")
        assert status == 200
        assert "/odd/a\ufffd" in {change["Path"] for change in changes}
        assert daemon.api("HEAD", "/containers/odd/archive?path=/odd/link")[0] == 200
        copied = daemon.run(["docker", "cp", "odd:/odd", "-"]).stdout
        with tarfile.open(fileobj=io.BytesIO(copied)) as archive:
            assert os.fsencode("odd/a\udcff") in [os.fsencode(name) for name in archive.getnames()]
        daemon.docker("commit", "odd", "odd")
    dockerfile = b"FROM busybox\nCOPY --from=odd /odd /odd\nRUN ls -d /odd/new* /etc/passwd\n"
    daemon.docker("build", "-t", "odd", "-", stdin=dockerfile)
    listed = daemon.run(["docker", "run", "--rm", "odd", "ls", "-A", "/odd"]).stdout
    assert sorted(listed.split(b"\n"))[1:] == [b"a?", b"link", b"new?line"]
    daemon.docker("rmi", "-f", "odd")


def test_output_without_newlines_and_without_end_costs_no_memory(daemon: Daemon) -> None:
    options = ("--log-opt", "max-size=1m", "--log-opt", "max-file=2")
    with running(daemon, "flood", "cat /dev/zero", *options):
        pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "flood"))
        monitor = next(
            line.split()[1]
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("PPid")
        )
        time.sleep(3)
        status = Path(f"/proc/{monitor}/status").read_text()
        resident_kib = int(status.partition("VmRSS:")[2].split()[0])
        assert resident_kib < 64 * 1024
        container = daemon.docker("inspect", "-f", "{{.Id}}", "flood").strip()
        logs = (daemon.data_root / "containers" / container).glob("*json.log*")
        assert sum(path.stat().st_size for path in logs) < 8 << 20


def test_a_fork_bomb_stays_within_its_limit(daemon: Daemon) -> None:
    bomb = "bomb() { bomb | bomb & }; (while :; do bomb; done) & exec sleep 600"
    with running(daemon, "bomb", bomb, "--pids-limit", "50"):
        time.sleep(1)
        started = time.monotonic()
        assert daemon.api("GET", "/_ping")[0] == 200
        assert daemon.docker("run", "--rm", "busybox", "echo", "on") == "on\n"
        assert time.monotonic() - started < 10
        pids = daemon.docker("top", "bomb", "-eo", "pid").splitlines()
        assert len(pids) <= 51
    assert daemon.docker("ps", "-aq", "--filter", "name=bomb") == ""


def test_endless_probes_leave_no_records(daemon: Daemon) -> None:
    """An image's health check may have no pause at all."""
    options = ("--health-cmd", "true", "--health-interval", "1ms")
    with running(daemon, "probed", "sleep 600", *options):
        show = ("inspect", "-f", "{{.State.Health.Status}} {{len .ExecIDs}}", "probed")
        wait_until(lambda: daemon.docker(*show).startswith("healthy"), "it is healthy")
        probes: set[str] = set()

        def probed() -> set[str]:
            events = ("--since", "10s", "--until", "0s", "--filter", "container=probed")
            told = daemon.docker("events", *events, "--format", "{{json .}}").splitlines()
            probes.update(
                line.partition('"execID":"')[2][:64] for line in told if "exec_die" in line
            )
            return probes

        wait_until(probed, "probes have ended")
        for probe in probes:
            assert daemon.api("GET", f"/exec/{probe}/json")[0] == 404


def test_garbage_for_the_dns_server_is_no_trouble(daemon: Daemon) -> None:
    daemon.docker("network", "create", "names")
    script = (
        "i=0; while [ $i -lt 200 ]; do head -c 700 /dev/urandom | nc -u -w 0 127.0.0.11 53;"
        " head -c 70000 /dev/urandom | nc -w 1 127.0.0.11 53 & i=$((i+1)); done; wait"
    )
    with running(daemon, "there", "sleep 600", "--network", "names"):
        with running(daemon, "garbage", script, "--network", "names"):
            for _ in range(3):
                found = daemon.docker(
                    "run", "--rm", "--network", "names", "busybox", "nslookup", "there"
                )
                assert "Address" in found
        assert "ended in a bug" not in daemon.log.read_text()
    daemon.docker("network", "rm", "names")


def layer(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return stream.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o755
    for key, value in more.items():
        setattr(info, key, value)
    return info


def test_a_layer_cannot_speak_overlayfs(daemon: Daemon, precious: Path) -> None:
    """redirect, metacopy and origin would show files of other layers, or any at all."""
    words = {
        f"SCHILY.xattr.{space}.overlay.{name}": value
        for space in ("trusted", "user")
        for name, value in (
            ("redirect", f"{precious}"), ("opaque", "y"), ("metacopy", ""), ("origin", "x"),
            ("overlay.opaque", "y"), ("whiteout", "y"),
        )
    }  # fmt: skip
    root = layer(
        entry("bin", tarfile.DIRTYPE, pax_headers=words),
        entry("file", size=1, pax_headers=words),
        entry("bin/../../../../../evil", size=1),
        entry("up", tarfile.SYMTYPE, linkname=str(precious)),
    )
    done = daemon.run(["docker", "import", "-", "evil"], stdin=root)
    assert b"outside of the root" in done.stderr
    root = layer(
        entry("bin", tarfile.DIRTYPE, pax_headers=words),
        entry("etc", tarfile.DIRTYPE, pax_headers=words),
        entry("file", size=1, pax_headers=words),
        entry("up", tarfile.SYMTYPE, linkname=str(precious)),
        entry("up/evil", size=1),
    )
    daemon.docker("import", "-", "evil", stdin=root)
    daemon.docker("build", "-t", "evil", "-", stdin=b"FROM busybox\nCOPY --from=evil / /\n")
    said = {os.fsencode(value) for value in words.values()} - {b"y"}  # the kernel's own are others
    for path in (daemon.data_root / "snapshots").rglob("*"):
        if path.name in ("bin", "etc", "file") and not path.is_symlink():
            values = {name: os.getxattr(path, name) for name in os.listxattr(path)}
            found = {name: value for name, value in values.items() if ".overlay." in name}
            assert not said & set(found.values()), path
            assert not [name for name in found if name.startswith("user.")], path
    assert daemon.docker("run", "--rm", "evil", "ls", "/bin/busybox") == "/bin/busybox\n"
    daemon.docker("rmi", "-f", "evil")


def test_a_secret_is_in_no_layer_no_record_and_no_log(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2-hunter2")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=s,env=PASSWORD --mount=type=secret,id=s"
        " --mount=type=cache,target=/cache cat /run/secrets/s > /dev/null"
        " && echo $PASSWORD | wc -c\n"
    )
    daemon.pier("build", "-t", "told", "--secret", f"id=s,src={tmp_path}/secret", str(tmp_path))
    found = subprocess.run(
        ["grep", "-rlF", "hunter2-hunter2", str(daemon.root)], capture_output=True, check=False
    )
    assert found.stdout == b""
    listed = daemon.docker("run", "--rm", "told", "find", "/", "-xdev")
    assert "secrets" not in listed
    assert "/cache" not in listed
    daemon.docker("rmi", "-f", "told")
