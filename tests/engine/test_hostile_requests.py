"""What no honest client sends: each is refused with a reason, and nothing of it is left.

A 500 with the name of an exception in it is a bug; so is anything outside of the container.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon

LONG = "/" + "a/" * 3000

CREATIONS: list[tuple[dict[str, Any], int]] = [
    ({"Volumes": {"/proc": {}}}, 400),
    ({"HostConfig": {"Tmpfs": {"/proc/sys": ""}}}, 400),
    ({"HostConfig": {"Binds": ["/a\0:/x"]}}, 400),
    ({"HostConfig": {"Tmpfs": {"/t": "rbind"}}}, 400),
    ({"HostConfig": {"CgroupParent": "/.."}}, 400),
    ({"HostConfig": {"CgroupParent": "../../x"}}, 400),
    ({"HostConfig": {"Sysctls": {"net.x\0": "1"}}}, 400),
    ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/null\0", "PathInContainer": "/x"}]}}, 400),
    ({"HostConfig": {"ExtraHosts": ["a:1.2.3.4\n1.2.3.4 bank"]}}, 400),
    ({"HostConfig": {"Dns": ["fe80::1%eth0\nnameserver 1.2.3.4"]}}, 400),
    ({"HostConfig": {"DnsSearch": ["a\nnameserver 1.2.3.4"]}}, 400),
    ({"HostConfig": {"PortBindings": {"80/sctp": [{"HostIp": "fe80::1%x } ; x"}]}}}, 400),
    ({"Hostname": "a\n1.2.3.4 bank"}, 400),
    ({"Domainname": "a\n1.2.3.4 bank"}, 400),
    ({"WorkingDir": "/etc/passwd"}, 500),
    ({"WorkingDir": LONG}, 500),
    ({"WorkingDir": "/\0"}, 400),
]


@pytest.mark.parametrize(("body", "status"), CREATIONS)
def test_what_cannot_be_is_refused_at_creation(
    daemon: Daemon, body: dict[str, Any], status: int
) -> None:
    answer, told = daemon.api(
        "POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], **body}
    )
    assert (answer, "Error:" in told.get("message", "")) == (status, False), told


@pytest.mark.parametrize(
    ("body", "exit_code"),
    [
        ({"User": "9" * 5000}, None),
        ({"HostConfig": {"Binds": ["v1:" + LONG]}}, None),
        (
            {
                "Labels": {"long": "x" * 2_000_000},
                "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"labels": "long"}}},
            },
            None,
        ),
        ({"WorkingDir": "/proc/self/fd/7"}, None),
        ({"WorkingDir": "/proc/self/fd/7/../../.."}, 0),
        ({"WorkingDir": "/../../.."}, 0),
        ({"HostConfig": {"Sysctls": {"net/../kernel/hostname": "x"}}}, None),
        ({"HostConfig": {"Sysctls": {"net/../../self/oom_score_adj": "5"}}}, None),
        ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/../etc/passwd"}]}}, None),
        ({"HostConfig": {"Binds": ["v1:/../x"], "Tmpfs": {"/a\nb": ""}}}, 0),
    ],
)
def test_what_a_start_finds_out_stays_inside(
    daemon: Daemon, body: dict[str, Any], exit_code: int | None
) -> None:
    status, told = daemon.api(
        "POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], **body}
    )
    assert status == 201, told
    status, answer = daemon.api("POST", f"/containers/{told['Id']}/start")
    if exit_code is None:
        assert (status, "Error:" in answer["message"]) == (500, False), answer
    else:
        assert status == 204, answer
        ended = daemon.api("POST", f"/containers/{told['Id']}/wait")[1]
        assert ended["StatusCode"] == exit_code
    assert daemon.api("DELETE", f"/containers/{told['Id']}?force=1&v=1")[0] == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/networks/create", {"Name": "n", "Options": {
            "com.docker.network.bridge.name": "all"}}, 400),
        ("POST", "/networks/create", {"Name": "n", "Options": {
            "com.docker.network.bridge.name": 'x"; flush'}}, 400),
        ("POST", "/networks/create", {"Name": "n", "EnableIPv6": True, "IPAM": {"Config": [
            {"Subnet": "fe80::%x; flush/64"}]}}, 400),
        ("GET", "/volumes/..%2f..", None, 404),
        ("GET", "/images/..%2f..%2fetc/json", None, 400),
        ("POST", "/build?cgroupparent=../..", None, 400),
        ("GET", "/images/busybox/json?platform={%22x%22:" + "[" * 30_000, None, 400),
        ("GET", "/images/get?names=busybox&platform={%22x%22:" + "[" * 30_000, None, 400),
        ("GET", "/containers/json?filters={%22x%22:" + "[" * 30_000, None, 400),
    ],
)  # fmt: skip
def test_names_lead_nowhere(
    daemon: Daemon, method: str, path: str, body: object, status: int
) -> None:
    answer, told = daemon.api(method, path, body)
    assert (answer, "Error:" in str(told)) == (status, False), told


def test_other_users_of_the_machine_see_nothing(daemon: Daemon) -> None:
    """Records hold passwords of containers, build contexts anything, images setuid programs."""
    daemon.docker("run", "--rm", "-e", "PASSWORD=1", "busybox", "true")
    assert daemon.data_root.stat().st_mode & 0o077 == 0o010
    assert (daemon.data_root / "pier.db").stat().st_mode & 0o077 == 0
    for path in daemon.exec_root.iterdir():
        seen = [p for p in path.rglob("*") if p.is_file() and _readable_by_all(p, daemon.exec_root)]
        assert not [p for p in seen if p.name.endswith(".json") and b"PASSWORD" in p.read_bytes()]


def _readable_by_all(path: Path, root: Path) -> bool:
    above = path.parent
    while above != root:
        if not above.stat().st_mode & 0o001:
            return False
        above = above.parent
    return bool(os.stat(path).st_mode & 0o004)


def test_a_terminal_larger_than_any_hurts_nobody(daemon: Daemon) -> None:
    """Sizes have 32 bits in the API, 16 in the kernel: what is above is cut off, as by Docker."""
    sizes = {"ConsoleSize": [65_536 + 33, 65_536 + 99]}
    body = {"Image": "busybox", "Tty": True, "OpenStdin": True, "HostConfig": sizes}
    _, made = daemon.api("POST", "/v1.51/containers/create?name=large", body)
    assert daemon.api("POST", f"/v1.51/containers/{made['Id']}/start")[0] == 204
    assert daemon.docker("exec", "large", "stty", "-F", "/dev/console", "size") == "33 99\n"
    resized = daemon.api("POST", "/v1.51/containers/large/resize?h=65546&w=4294901860")
    assert resized[0] == 200
    assert daemon.docker("exec", "large", "stty", "-F", "/dev/console", "size") == "10 100\n"
    asked = {"Cmd": ["sleep", "60"], "Tty": True, **sizes}
    _, one = daemon.api("POST", "/v1.51/containers/large/exec", asked)
    started = {"Detach": True, "Tty": True, **sizes}
    assert daemon.api("POST", f"/v1.51/exec/{one['Id']}/start", started)[0] == 200
    assert daemon.api("POST", f"/v1.51/exec/{one['Id']}/resize?h=70000&w=80")[0] == 200
    _, state = daemon.api("GET", f"/v1.51/exec/{one['Id']}/json")
    assert state["Running"]
    daemon.docker("rm", "-f", "large")
