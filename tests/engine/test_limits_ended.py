"""Limits that end, groups that may be written to, and namespaces of containers that do not run."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon import Daemon

PIDS = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null || true"
QUOTA = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null || true"


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


def resources(daemon: Daemon, name: str) -> Any:  # Any: foreign JSON
    return daemon.api("GET", f"/containers/{name}/json")[1]["HostConfig"]


@pytest.mark.parametrize("limit", [-2, -1, 0])
def test_no_limit_of_processes_is_a_limit_that_ends(daemon: Daemon, limit: int) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "300"], "HostConfig": {"PidsLimit": limit}}
    made = daemon.api("POST", "/containers/create", body)[1]["Id"]
    assert resources(daemon, made)["PidsLimit"] is None
    daemon.docker("start", made)
    assert daemon.docker("exec", made, "sh", "-c", PIDS) == "max\n"
    for asked, shown, kernels in ((32, 32, "32\n"), (limit, 0, "max\n")):
        status, _ = daemon.api("POST", f"/containers/{made}/update", {"PidsLimit": asked})
        assert status == 200
        assert resources(daemon, made)["PidsLimit"] == shown
        assert daemon.docker("exec", made, "sh", "-c", PIDS) == kernels


def test_a_quota_below_zero_is_none(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "--cpu-quota", "-5", "busybox", "sleep", "300")
    for asked, kernels in ((-1, ("-1", "max")), (15000, ("15000", "15000")), (-1, ("-1", "max"))):
        daemon.docker("update", "--cpu-quota", str(asked), "web")
        assert resources(daemon, "web")["CpuQuota"] == asked
        assert daemon.docker("exec", "web", "sh", "-c", QUOTA).split()[0] in kernels


@pytest.mark.parametrize(
    ("option", "status"),
    [("writable-cgroups", 0), ("writable-cgroups=true", 0), ("writable-cgroups=false", 1)],
)
def test_writable_cgroups(daemon: Daemon, option: str, status: int) -> None:
    group = "cd /sys/fs/cgroup; [ ! -d pids ] || cd pids; mkdir mine && rmdir mine"
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", group],
        "HostConfig": {"SecurityOpt": [option]},
    }
    made = daemon.api("POST", "/containers/create", body)[1]["Id"]
    daemon.docker("start", "-a", made, status=status)


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("PidMode", 500, "failed to join PID namespace: container {id} is not running"),
        ("IpcMode", 409, "failed to join IPC namespace: container {id} is not running"),
        (
            "NetworkMode",
            409,
            "cannot join network namespace of a non running container: container done is exited",
        ),
    ],
)
def test_only_what_runs_can_be_joined(daemon: Daemon, mode: str, status: int, words: str) -> None:
    daemon.docker("run", "--name", "done", "busybox", "true")
    other = daemon.docker("inspect", "-f", "{{.Id}}", "done").strip()
    body = {"Image": "busybox", "HostConfig": {mode: "container:done"}}
    made = daemon.api("POST", "/containers/create", body)[1]["Id"]
    answer = daemon.api("POST", f"/containers/{made}/start")
    assert answer == (status, {"message": words.format(id=other)})


def test_an_exec_of_nobody_is_refused(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "busybox", "sleep", "300")
    daemon.docker("exec", "web", "rm", "/etc/group")

    def asked(user: str) -> tuple[int, Any]:
        body = {"Cmd": ["id"], "User": user}
        return daemon.api("POST", "/containers/web/exec", body)

    assert asked("0:0")[0] == asked("root")[0] == asked("")[0] == 201
    assert asked("0:root") == (
        400,
        {"message": "unable to find group root: no matching entries in group file"},
    )
    assert asked("root;0")[0] == asked("99999999999")[0] == 400


def test_a_body_is_read_before_the_container_is_looked_for(daemon: Daemon) -> None:
    assert daemon.api("POST", "/containers/none/exec", [])[0] == 400
    assert daemon.api("POST", "/containers/none/exec", {"Cmd": ["id"]})[0] == 404
    assert daemon.api("POST", "/containers/none/update")[0] == 404
    refused = (400, {"message": 'invalid name or ID supplied: ""'})
    assert daemon.api("POST", "/commit") == refused
    assert daemon.api("POST", "/networks/bridge/connect") == refused
    attach = "/containers/none/attach?stream=1&detachKeys=nonsense"
    assert daemon.api("POST", attach)[0] == 400
