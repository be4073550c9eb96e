# ruff: noqa: ASYNC240 - tests may block
"""An exec made without the runtime is what the runtime's own exec is: compared, one by one."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.linux.libseccomp import compile_profile
from pier.runtime.monitors import RuntimeFailed
from pier.runtime.seccomp import default_profile
from tests.root.exec_support import end, output, started
from tests.root.runtime_support import Bench, scenario

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


def limits(*entries: tuple[str, int, int]) -> list[dict[str, object]]:
    return [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in entries]


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
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
@scenario
async def test_what_cannot_be_executed_says_why(
    bench: Bench, program: str, code: int, words: str, *, terminal: bool
) -> None:
    order, container = await started(bench)
    bench.native = True
    monitor = await bench.exec(order, program, terminal=terminal)
    with pytest.raises(RuntimeFailed) as caught:
        await monitor.start()
    assert words in str(caught.value)
    assert caught.value.exit_code == code
    await end(container)


@pytest.mark.parametrize("terminal", [False, True])
@scenario
async def test_what_the_kernel_does_not_execute_says_so_itself(
    bench: Bench, *, terminal: bool
) -> None:
    """The words, the code and where they appear are runc's, as in Docker."""
    for name, text in (("orphan", "#!/no/such/interpreter\n"), ("nonsense", "?")):
        (bench.layer / "etc" / name).write_text(text)
        (bench.layer / "etc" / name).chmod(0o755)
    order, container = await started(bench)
    for program, why in (
        ("orphan", "no such file or directory"),
        ("nonsense", "exec format error"),
    ):
        answer = await output(bench, order, f"/etc/{program}", native=True, terminal=terminal)
        newline = "\r\n" if terminal else "\n"
        assert answer == (255, f"exec /etc/{program}: {why}{newline}"), program
    await end(container)


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
