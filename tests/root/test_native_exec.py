# ruff: noqa: ASYNC240 - tests may block
"""An exec made without the runtime is what the runtime's own exec is: compared, one by one."""

import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.containers.native_exec import plan
from pier.linux.libseccomp import compile_profile
from pier.runtime.joining import (
    Group,
    NotUnderstood,
    close_groups,
    find_container,
    join_groups,
    open_groups,
)
from pier.runtime.launcher import LaunchFailed
from pier.runtime.monitors import Monitor, RuntimeFailed
from pier.runtime.native_exec import checked_pid
from pier.runtime.orders import MonitorOrder, NativeExec
from pier.runtime.seccomp import default_profile
from tests.root.runtime_support import Bench, forget_groups, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

USUAL = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT"]
STATUS = (
    "Uid Gid Groups Umask NoNewPrivs Seccomp Seccomp_filters CapInh CapPrm CapEff CapBnd CapAmb"
    " SigBlk SigIgn SigCgt Speculation_Store_Bypass Cpus_allowed"
).split()
LIMITS, OOM = len(STATUS) + 1, len(STATUS) + 2
"""Where these sections are."""
LOOK = """
cat /proc/self/status; echo; echo ==; cat /proc/self/cgroup; echo ==; cat /proc/self/limits
echo ==; cat /proc/self/oom_score_adj; echo ==; env; echo ==; pwd; umask
echo ==; cd /proc/self/ns; for n in *; do echo $n; readlink $n; done
echo ==; for n in 0 1 2; do stat -L -c '%F %u' /proc/self/fd/$n; done; ls /proc/$$/fd
echo ==; id
echo ==; read pid name state parent group session rest </proc/$$/stat; echo $(( session == $$ ))
"""


@pytest.fixture(autouse=True)
def raised_limit() -> Iterator[None]:
    """Debian's runc (Go 1.19) raises its own soft limit of open files and passes that on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=["crun", "runc"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, request.param)
    forget_groups()


def limits(*entries: tuple[str, int, int]) -> list[dict[str, object]]:
    return [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in entries]


def with_config(order: MonitorOrder, **changes: Any) -> MonitorOrder:
    path = Path(order.bundle) / "config.json"
    configuration = json.loads(path.read_text())
    configuration["linux"] |= changes.pop("linux", {})
    configuration["process"] |= changes.pop("process", {})
    path.write_text(json.dumps(configuration | changes))
    return order


async def started(bench: Bench, **changes: Any) -> tuple[MonitorOrder, Monitor]:
    order = with_config(bench.order("sleep", "1000"), **changes)
    monitor = await bench.spawner.launch(order)
    await monitor.start()
    return order, monitor


async def end(container: Monitor) -> None:
    await container.kill()
    await container.ended()


async def output(
    bench: Bench,
    order: MonitorOrder,
    *args: str,
    native: bool = False,
    planned: NativeExec | None = None,
    **fields: Any,
) -> tuple[int, str]:
    bench.native = native
    if planned is not None:
        fields["native"] = planned
    monitor = await bench.exec(order, *args, capture_bytes=1 << 20, **fields)
    await monitor.start()
    ended = await monitor.wait()
    await monitor.ended()
    return ended.code, ended.output.decode()


def sections(text: str) -> list[str]:
    """What LOOK printed; of the status what can be the same twice."""
    status, *rest = text.split("==\n")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    # 32 and 33 are the C library's: its posix_spawn ignores them.
    ignored = int(fields["SigIgn"], 16) & ~(3 << 31)
    fields["SigIgn"] = f"{ignored:x}"
    return [*(f"{name} {fields[name].strip()}" for name in STATUS if name in fields), *rest]


def held(*names: str, kinds: str = "bounding effective permitted") -> dict[str, Any]:
    return {"capabilities": {kind: list(names) for kind in kinds.split()}}


PROCESSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "capabilities": held(*USUAL),
    "none": held(),
    "user": {"user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 7]}, **held(*USUAL)},
    "ambient": {
        "user": {"uid": 1000, "gid": 1000},
        **held("CAP_KILL", kinds="bounding effective permitted inheritable ambient"),
    },
    "no new privileges": {"noNewPrivileges": True},
    "limits": {"rlimits": limits(("NOFILE", 100, 200), ("CORE", 0, 0), ("NPROC", 500, 600))},
    "oom": {"oomScoreAdj": 700},
    "directory": {"cwd": "/etc"},
    "environment": {"env": ["PATH=/nowhere:/bin", "B=2", "A=1", "EMPTY=", "HOME=/x=y"]},
}


@pytest.mark.parametrize("with_filter", [False, True])
@pytest.mark.parametrize("kind", PROCESSES)
@scenario
async def test_it_is_as_the_runtimes_own(bench: Bench, kind: str, *, with_filter: bool) -> None:
    profile = {"seccomp": default_profile(USUAL)} if with_filter else {}
    order, container = await started(bench, linux=profile)
    process = {"env": ["PATH=/bin", "HOME=/root"]} | PROCESSES[kind]
    outputs = []
    for native in (False, True):
        code, text = await output(bench, order, "sh", "-c", LOOK, native=native, process=process)
        assert code == 0, text
        outputs.append(sections(text))
    # The runtimes' own execs differ: crun's are in the monitor's session, and both leave to the
    # OOM killer what was there.
    assert outputs[1].pop() == "1\n"
    outputs[0].pop()
    if kind == "oom":
        assert outputs[1][OOM] == "700\n"
        outputs[0][OOM] = "700\n"
    if kind == "limits":
        words = outputs[1][LIMITS].split()
        assert "files 100 200 files" in " ".join(words)
        assert "processes 500 600 processes" in " ".join(words)
        if bench.info.name == "runc":  # 1.1 races with Go's own idea of the limit of files
            outputs[0][LIMITS] = outputs[1][LIMITS]
    assert outputs[0] == outputs[1]
    assert f"Seccomp {2 if with_filter else 0}" in outputs[1]
    await end(container)


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/secret", 126, 'exec: "/etc/secret": permission denied'),
        ("/etc/secret/x", 127, 'exec: "/etc/secret/x": not a directory'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("/etc/orphan", 127, 'exec: "/etc/orphan": no such file or directory'),
        ("/etc/nonsense", 128, 'exec: "/etc/nonsense": exec format error'),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
@scenario
async def test_what_cannot_be_executed_says_why(
    bench: Bench, program: str, code: int, words: str, *, terminal: bool
) -> None:
    for name, text in (("orphan", "#!/no/such/interpreter\n"), ("nonsense", "?")):
        (bench.layer / "etc" / name).write_text(text)
        (bench.layer / "etc" / name).chmod(0o755)
    order, container = await started(bench)
    bench.native = True
    monitor = await bench.exec(order, program, terminal=terminal)
    with pytest.raises(RuntimeFailed) as caught:
        await monitor.start()
    assert words in str(caught.value)
    assert caught.value.exit_code == code
    await end(container)


@scenario
async def test_a_directory_only_the_user_may_enter_is_entered(bench: Bench) -> None:
    home = bench.layer / "etc/home"
    home.mkdir(mode=0o700)
    os.chown(home, 1000, 1000)
    order, container = await started(bench)
    user = {"user": {"uid": 1000, "gid": 1000}, "cwd": "/etc/home", "capabilities": {}}
    assert await output(bench, order, "pwd", native=True, process=user) == (0, "/etc/home\n")
    other = user | {"user": {"uid": 1001, "gid": 1001}}
    # As root, with every capability: the runtime looks first, too.
    assert await output(bench, order, "true", native=True, process=other) == (0, "")
    bench.native = True
    monitor = await bench.exec(order, "true", process={"cwd": "/no/such"})
    with pytest.raises(RuntimeFailed, match=r'chdir to cwd \("/no/such"\).*no such file'):
        await monitor.start()
    await end(container)


@scenario
async def test_no_directory_and_no_program_of_the_hosts_can_be_reached(bench: Bench) -> None:
    """CVE-2024-21626 and CVE-2019-5736."""
    (bench.layer / "etc/script").write_text("#!/proc/self/exe\n")
    (bench.layer / "etc/script").chmod(0o755)
    for number in range(3, 40):
        (bench.layer / f"etc/{number}").symlink_to(f"/proc/self/fd/{number}")
    order, container = await started(bench)
    bench.native = True
    for number in range(3, 40):
        monitor = await bench.exec(order, "pwd", process={"cwd": f"/etc/{number}"})
        with pytest.raises(RuntimeFailed):
            await monitor.start()
    with contextlib.suppress(RuntimeFailed):
        await output(bench, order, "/etc/script", native=True)
    process = bench.spawner._process
    assert process is not None
    with pytest.raises(OSError, match="Read-only file system"):
        os.open(f"/proc/{process.pid}/exe", os.O_WRONLY)
    await end(container)


@scenario
async def test_what_waits_to_be_started_is_in_the_container_but_not_among_its_processes(
    bench: Bench,
) -> None:
    order, container = await started(bench)
    bench.native = True
    monitor = await bench.exec(order, "true")

    def waiting() -> list[int]:
        pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        inside = namespace(container.pid, "mnt")
        return [pid for pid in pids if namespace(pid, "mnt") == inside and pid != container.pid]

    await until(lambda: len(waiting()) == 1)
    assert namespace(waiting()[0], "pid") == namespace(os.getpid(), "pid")
    await monitor.start()
    assert (await monitor.wait()).code == 0
    await monitor.ended()
    await end(container)


def namespace(pid: int, kind: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


@pytest.mark.parametrize("shared", ["pid", "network", "ipc"])
@scenario
async def test_namespaces_of_the_hosts_are_shared_by_the_exec_too(
    bench: Bench, shared: str
) -> None:
    order = bench.order("sleep", "1000")
    path = Path(order.bundle) / "config.json"
    configuration = json.loads(path.read_text())
    spaces = configuration["linux"]["namespaces"]
    configuration["linux"]["namespaces"] = [e for e in spaces if e["type"] != shared]
    path.write_text(json.dumps(configuration))
    container = await bench.spawner.launch(order)
    await container.start()
    texts = [await output(bench, order, "sh", "-c", LOOK, native=way) for way in (False, True)]
    assert sections(texts[0][1])[:-1] == sections(texts[1][1])[:-1]
    lasting = await bench.exec(order, "sleep", "1000")
    await lasting.start()
    await end(container)
    assert (await lasting.wait()).code == 137
    await lasting.ended()


@scenario
async def test_what_is_not_understood_is_left_to_the_runtime(bench: Bench) -> None:
    order, container = await started(bench)
    bench.native = False
    monitor = await bench.exec(
        order, "cat", "/etc/secret", native=NativeExec(os.getpid(), "x"), capture_bytes=99
    )
    await monitor.start()
    assert (await monitor.wait()).output == b"x"
    await monitor.ended()
    with pytest.raises(NotUnderstood, match="left its group"):
        find_container(os.getpid(), order.cgroup)
    child = subprocess.Popen(["unshare", "--user", "sleep", "100"])  # noqa: ASYNC220
    try:
        await until(lambda: namespace(child.pid, "user") != namespace(os.getpid(), "user"))
        with pytest.raises(NotUnderstood):
            find_container(child.pid, order.cgroup)
    finally:
        child.kill()
        child.wait()
    await end(container)


@scenario
async def test_where_somebody_may_look_into_processes_the_runtime_makes_them(bench: Bench) -> None:
    order, container = await started(bench)
    bundle = Path(order.bundle)
    pid = int((bundle / "pid").read_text())
    usual = {"args": ["true"], "cwd": "/", "env": ["HOME=/"]}
    assert await plan(bundle, bench.info, order.container_id, pid, usual) is not None
    strong = {**usual, "capabilities": {"bounding": ["CAP_SYS_PTRACE"]}}
    assert await plan(bundle, bench.info, order.container_id, pid, strong) is None
    assert await plan(bundle, bench.info, order.container_id, pid, usual) is None
    await end(container)


@scenario
async def test_the_last_process_a_container_may_have_can_be_an_exec(bench: Bench) -> None:
    if bench.info.name == "runc":
        pytest.skip("its own threads count, too")
    order, container = await started(bench, linux={"resources": {"pids": {"limit": 2}}})
    pid = int((Path(order.bundle) / "pid").read_text())
    native = NativeExec(pid, order.container_id)
    code, text = await output(bench, order, "echo", "there", planned=native)
    assert (code, text) == (0, "there\n")
    await end(container)


@pytest.mark.parametrize("capabilities", [USUAL, ["CAP_SYS_ADMIN"], []])
@scenario
async def test_a_profile_compiled_here_is_as_crun_compiles_it(
    bench: Bench, capabilities: list[str]
) -> None:
    profile = default_profile(capabilities)
    order, container = await started(bench, linux={"seccomp": profile})
    if bench.info.name == "crun":
        compiled = Path(bench.info.root, order.container_id, "seccomp.bpf").read_bytes()
        assert compile_profile(profile) == compiled
    await end(container)


def test_only_a_child_is_taken_for_the_program() -> None:
    """Who took the program's process over could name any process of the host."""
    child = subprocess.Popen(["sleep", "100"])
    try:
        assert checked_pid(child.pid) == child.pid
        with pytest.raises(LaunchFailed, match="none of ours"):
            checked_pid(1)
    finally:
        child.kill()
        child.wait()
    assert checked_pid(child.pid) == child.pid


@pytest.fixture
def v2_group() -> Iterator[Path]:
    """A group in the v2 hierarchy, be it the only one or beside v1's."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    point = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if point is None:
        pytest.skip("no cgroup2 is mounted")
    group = point / f"pier-test-joining-{os.getpid()}"
    group.mkdir()
    yield group
    for directory in (group / "invalid", group / "threaded", group):
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()


def group_of_child(group: Group) -> str:
    """Where a process ends up that joins `group`."""
    reading, writing = os.pipe()
    opened = open_groups((group,))
    pid = os.fork()
    if pid == 0:
        try:
            join_groups(opened)
            os.write(writing, Path("/proc/self/cgroup").read_bytes())
        finally:
            os._exit(0)
    os.close(writing)
    close_groups(opened)
    os.waitpid(pid, 0)
    with open(reading) as file:
        lines = file.read().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def test_a_v2_group_is_joined_or_the_first_processs_where_it_holds_none(v2_group: Path) -> None:
    procs = str(v2_group / "cgroup.procs")
    assert group_of_child(Group(procs)) == f"/{v2_group.name}"
    (v2_group / "threaded").mkdir()
    (v2_group / "invalid").mkdir()
    (v2_group / "threaded/cgroup.type").write_text("threaded")
    invalid = str(v2_group / "invalid/cgroup.procs")
    assert group_of_child(Group(invalid, procs)) == f"/{v2_group.name}"
