"""What Docker 28 answers, in its details: inspect, diff, events, commits, copies."""

import io
import json
import tarfile
import threading
import time
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.engine.archives import tar_of


def created(daemon: Daemon, **body: Any) -> dict[str, Any]:  # Any: foreign JSON
    """A new container as inspect shows it; it is removed again."""
    status, made = daemon.api(
        "POST", "/v1.51/containers/create", {"Image": "busybox", "Cmd": ["true"], **body}
    )
    assert status == 201, made
    shown: dict[str, Any] = daemon.api("GET", f"/v1.51/containers/{made['Id']}/json")[1]
    daemon.api("DELETE", f"/containers/{made['Id']}?v=1")
    return shown


def test_what_nobody_asked_for_is_null_and_what_was_asked_for_as_empty_is_empty(
    daemon: Daemon,
) -> None:
    lists = ("Dns", "DnsSearch", "Devices", "Ulimits", "BlkioDeviceReadBps", "CapAdd", "Binds")
    host = created(daemon)["HostConfig"]
    assert {host[name] for name in (*lists, "PidsLimit", "PortBindings")} == {None}
    asked = {**{name: [] for name in lists}, "PortBindings": {}, "PidsLimit": 0}
    host = created(daemon, HostConfig=asked)["HostConfig"]
    assert {name: host[name] for name in asked} == {**asked, "PidsLimit": None}


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ({"PidMode": "host"}, ["label=disable"]),
        ({"Privileged": True, "SecurityOpt": []}, ["label=disable"]),
        ({"IpcMode": "host", "SecurityOpt": ["no-new-privileges"]},
         ["no-new-privileges", "label=disable"]),
        ({"PidMode": "host", "SecurityOpt": ["label=type:x"]}, ["label=type:x"]),
        ({}, None),
    ],
)  # fmt: skip
def test_labels_are_disabled_where_the_host_is_shared(
    daemon: Daemon, host: dict[str, Any], shown: list[str] | None
) -> None:
    assert created(daemon, HostConfig=host)["HostConfig"]["SecurityOpt"] == shown


def test_mounts_have_no_tmpfs_of_the_host_config(daemon: Daemon) -> None:
    host = {
        "Tmpfs": {"/t/": ""},
        "Mounts": [{"Type": "tmpfs", "Target": "/m"}, {"Type": "volume", "Target": "/v"}],
    }
    mounts = created(daemon, HostConfig=host)["Mounts"]
    assert [(point["Destination"], point["Mode"]) for point in mounts] == [("/m", ""), ("/v", "z")]


def test_options_of_an_ipam_are_as_they_were_asked_for(daemon: Daemon) -> None:
    for asked, shown in (({}, None), ({"Options": {}}, {}), ({"Options": None}, None)):
        daemon.api("POST", "/networks/create", {"Name": "shown", "IPAM": asked})
        assert daemon.api("GET", "/networks/shown")[1]["IPAM"]["Options"] == shown
        assert daemon.api("GET", "/v1.51/networks/")[0] == 200
        daemon.docker("network", "rm", "shown")


def test_an_ip_range_may_be_spelled_in_any_way(daemon: Daemon) -> None:
    pool = {"Subnet": "fd00:389::/64", "IPRange": "fd00:389::0/96", "Gateway": "fd00:389::fff"}
    body = {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [pool]}}
    status, answer = daemon.api("POST", "/networks/create", body)
    assert status == 201, answer
    assert pool in daemon.api("GET", "/networks/six")[1]["IPAM"]["Config"]
    shown = daemon.docker("run", "--rm", "--network", "six", "busybox", "ip", "-6", "addr")
    assert "fd00:389::" in shown
    daemon.docker("network", "rm", "six")
    pool["IPRange"] = "fd00:389::5/96"
    assert daemon.api("POST", "/networks/create", body)[1]["message"] == (
        "invalid network config:\ninvalid ip-range fd00:389::5/96: it should be fd00:389::/96"
    )


def test_diff_shows_where_something_is_mounted(daemon: Daemon) -> None:
    volumes = ("-v", "/vol", "-v", "/etc/hostname:/home/x")
    daemon.docker("run", "--name", "changed", *volumes, "busybox", "true")
    assert daemon.docker("diff", "changed").splitlines() == ["C /home", "A /home/x", "A /vol"]
    daemon.docker("rm", "-v", "changed")
    daemon.docker("run", "--name", "changed", "busybox", "true")
    assert daemon.docker("diff", "changed") == ""
    daemon.docker("rm", "changed")


def test_a_root_that_an_archive_gives_0700_is_open_all_the_same(daemon: Daemon) -> None:
    binary = daemon.run(["docker", "run", "--rm", "busybox", "cat", "/bin/busybox"]).stdout
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        root = tarfile.TarInfo("./")
        root.type, root.mode, root.uid = tarfile.DIRTYPE, 0o700, 5
        tar.addfile(root)
        program = tarfile.TarInfo("./busybox")
        program.mode, program.size = 0o755, len(binary)
        tar.addfile(program, io.BytesIO(binary))
    daemon.docker("import", "-", "closed:1", stdin=stream.getvalue())
    shown = daemon.docker("run", "--rm", "-u", "1000", "closed:1", "/busybox", "stat", "-c",
                          "%a %u", "/")  # fmt: skip
    assert shown == "755 0\n"
    daemon.docker("rmi", "closed:1")


def test_events_in_dockers_order_and_words(daemon: Daemon) -> None:
    since = int(time.time())
    daemon.docker("run", "-d", "--name", "told", "-v", "/v", "busybox", "sleep", "300")
    daemon.docker("exec", "told", "true")
    daemon.docker("exec", "told", "echo", "a b", "")
    daemon.docker("rm", "-fv", "told")
    daemon.docker("tag", "busybox", "told:1")
    daemon.docker("rmi", "told:1")
    limits = ("--since", str(since), "--until", str(int(time.time()) + 1))
    heard = daemon.docker("events", *limits, "--format", "{{json .}}")
    events = [json.loads(line) for line in heard.splitlines()]
    actions = [f"{event['Type']} {event['Action']}" for event in events]
    for line in ("exec_create: true ", "exec_start: true ", "exec_create: echo a b "):
        assert f"container {line}" in actions
    die = max(number for number, action in enumerate(actions) if action == "container die")
    assert actions[die - 2 : die] == ["network disconnect", "volume unmount"]
    untag = next(event for event in events if event["Action"] == "untag")
    assert untag["Actor"]["Attributes"]["name"] == untag["Actor"]["ID"]


def test_a_commit_of_what_ends_meanwhile_is_made(daemon: Daemon) -> None:
    """Ends at any moment of it: before it is frozen, while it is, and with --rm."""
    for number in range(9):
        options = ("--rm",) if number % 3 == 2 else ()
        daemon.docker("run", "-d", "--name", "ends", *options, "busybox", "sh", "-c",
                      "touch /made; sleep 300")  # fmt: skip
        killer = threading.Timer(number * 0.008, daemon.run, [["docker", "kill", "ends"]])
        killer.start()
        done = daemon.run(["docker", "commit", "ends", "ended:1"])
        killer.join()
        if done.returncode:
            assert (options, b"No such container" in done.stderr) == (("--rm",), True), done.stderr
        else:
            daemon.docker("run", "--rm", "ended:1", "true")
            daemon.docker("rmi", "ended:1")
        daemon.run(["docker", "rm", "-f", "ends"])


@pytest.fixture(scope="module")
def copied(daemon: Daemon) -> str:
    script = (
        "mkdir -p /bar/quux; echo hi >/bar/quux/baz; cd /bar; ln -s quux/baz file; ln -s / root"
    )
    daemon.docker("run", "--name", "copied", "busybox", "sh", "-c", f"{script}; ln -s quux dir")
    return "copied"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", {"/", "/bar/", "/bar/quux/baz", "/bar/file"}),
        (".", {"./", "./bar/quux/baz"}),
        ("./", {"./", "./bar/quux/baz"}),
        ("/./", {"./", "./bar/quux/baz"}),
        ("/bar/root", {"root"}),
        ("/bar/root/", {"root/", "root/bar/quux/baz", "root/bar/dir"}),
        ("bar/root/.", {"./", "./bar/quux/baz"}),
        ("bar/dir/", {"dir/", "dir/baz"}),
        ("bar/quux/.", {"./", "./baz"}),
        ("bar/file", {"file"}),
    ],
)
def test_what_is_copied_is_named_as_docker_names_it(
    daemon: Daemon, copied: str, path: str, names: set[str]
) -> None:
    archive = daemon.run(["docker", "cp", f"{copied}:{path}", "-"]).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {member.name + "/" * member.isdir() for member in tar.getmembers()}
    assert found >= names
    assert len(names) > 2 or len(found) == len(names) or path.rstrip("/.") in ("", "bar/root")


@pytest.mark.parametrize("path", ["/bar/quux/baz/", "/bar/file/", "/bar/quux/baz/x"])
def test_a_file_is_no_directory_to_copy(daemon: Daemon, copied: str, path: str) -> None:
    why = daemon.docker("cp", f"{copied}:{path}", "-", status=1)
    assert "not a directory" in why
    url = f"/containers/{copied}/archive?path={path}"
    status, answer = daemon.api("PUT", url, tar_of({"a": b"b"}).decode("latin-1"))
    assert (status, answer["message"]) == (500, f"lstat {path}: not a directory")


def test_a_link_of_the_kernels_is_not_there(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "runs", "busybox", "sleep", "300")
    assert daemon.api("GET", "/containers/runs/archive?path=/proc/self")[0] == 404
    daemon.docker("rm", "-f", "runs")


@pytest.mark.parametrize(
    ("asked", "shown"), [("/tmp/", "/tmp"), ("/tmp/../x//y/./", "/x/y"), ("//tmp", "/tmp")]
)
def test_a_working_directory_is_normalized(daemon: Daemon, asked: str, shown: str) -> None:
    assert created(daemon, WorkingDir=asked)["Config"]["WorkingDir"] == shown
