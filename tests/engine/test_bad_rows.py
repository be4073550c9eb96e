"""Foreign bytes in images, and rows that were spoiled: one bad thing does not take the others."""

import json
import shutil
import sqlite3
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.engine.archives import reconfigured

LISTS = (
    "/containers/json?all=1&size=1", "/images/json?all=1", "/volumes", "/networks",
    "/system/df", "/info", "/events?since=1&until=2",
    '/containers/json?all=1&filters={"expose":["80"]}',
)  # fmt: skip
PRUNES = ("containers", "images", "volumes", "networks", "build")


def all_answer(daemon: Daemon) -> None:
    for path in LISTS:
        status, body = daemon.api("GET", path)
        assert status == 200, (path, body)


@pytest.fixture(scope="module")
def saved(daemon: Daemon) -> bytes:
    return daemon.run(["docker", "save", "busybox"]).stdout


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"ExposedPorts": {"80-82/tcp": {}}}, {"80/tcp", "81/tcp", "82/tcp"}),
        ({"ExposedPorts": {"a/tcp": {}, "": {}, "80/foo": {}, "99999": {}, "53/UDP": {}}},
         {"53/udp"}),
        ({"ExposedPorts": {"0-65535/tcp": {}, "-1": None, "80/tcp\n": {}}}, set()),
        ({"StopSignal": "NOSUCH", "Env": ["=x", None, "A", "B=1"]}, set()),
        ({"StopSignal": "9" * 30, "Volumes": {"below/root": {}}}, set()),
        ({"Labels": {"": "x", "none": None}, "OnBuild": [None], "Shell": "sh"}, set()),
        ({"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1, "Retries": -1}}, set()),
        ({"Healthcheck": {"Test": ["CMD", None], "Interval": -(2**63), "Timeout": 2**63 - 1}},
         set()),
    ],
)  # fmt: skip
def test_an_image_with_odd_fields_runs_and_can_be_listed(
    daemon: Daemon, saved: bytes, changes: dict[str, Any], shown: set[str]
) -> None:
    daemon.docker("load", "-q", stdin=reconfigured(saved, "odd:1", changes))
    try:
        daemon.docker("run", "-d", "--name", "odd", "-P", "odd:1", "sleep", "300")
        all_answer(daemon)
        ports = daemon.api("GET", "/containers/json?all=1")[1][0]["Ports"]
        assert {f"{port['PrivatePort']}/{port['Type']}" for port in ports} == shown
        daemon.docker("stop", "-t", "0", "odd")
    finally:
        daemon.docker("rm", "-fv", "odd")


def test_what_is_left_out_of_an_image_is_said(daemon: Daemon, saved: bytes) -> None:
    changes = {"ExposedPorts": {"a/tcp": {}}, "StopSignal": "X"}
    daemon.docker("load", "-q", stdin=reconfigured(saved, "said:1", changes))
    status, made = daemon.api("POST", "/containers/create", {"Image": "said:1", "Cmd": ["true"]})
    assert status == 201
    assert made["Warnings"] == [
        "The image's exposed port 'a/tcp' is not valid: ignored.",
        "The image's stop signal 'X' is not valid: ignored.",
    ]
    daemon.docker("rm", made["Id"])


@pytest.mark.parametrize("created", ["9999-12-31T00:00:00Z", "0500-01-01T00:00:00Z", "garbage"])
def test_an_image_of_any_date_can_be_listed(daemon: Daemon, saved: bytes, created: str) -> None:
    archive = reconfigured(saved, "dated:1", {}, {"created": created})
    daemon.docker("load", "-q", stdin=archive)
    all_answer(daemon)
    daemon.docker("images")
    daemon.docker("rmi", "dated:1")


@pytest.mark.parametrize(
    "changes",
    [
        {"Labels": {"a": 1}}, {"Env": [1]}, {"Healthcheck": {"Interval": 10**30}},
        {"Healthcheck": {"Test": "x"}}, {"ExposedPorts": ["80"]}, {"User": 5},
    ],
)  # fmt: skip
def test_what_no_client_could_read_is_not_loaded(
    daemon: Daemon, saved: bytes, changes: dict[str, Any]
) -> None:
    archive = reconfigured(saved, "refused:1", changes)
    assert "invalid image config" in daemon.docker("load", "-q", stdin=archive, status=1)


def _spoil(daemon: Daemon) -> None:
    """One row of each table whose values are JSON."""
    database = sqlite3.connect(daemon.data_root / "pier.db")
    with database:
        for name, column, value in (
            ("spec", "spec_json", '{"image": 5}'), ("mounts", "mounts_json", "[{}]"),
            ("status", "status_json", "{"), ("state", "state", "nonsense"),
        ):  # fmt: skip
            database.execute(f"UPDATE containers SET {column} = ? WHERE name = ?", (value, name))
        database.execute("UPDATE volumes SET labels_json = '[' WHERE name = 'spoiled'")
        database.execute("UPDATE networks SET spec_json = '5' WHERE name IN ('spoiled', 'bridge')")
        database.execute(
            "UPDATE networks SET spec_json = replace(spec_json, '/16', '/x') WHERE name = 'subnet'"
        )
        database.execute("UPDATE tags SET reference = ':::' WHERE reference LIKE '%spoiled:1'")
        row = database.execute("SELECT spec_json FROM containers WHERE name = 'old'").fetchone()
        spec = {**json.loads(row[0]), "exposed_ports": ["80-82/tcp", "", "a/tcp", "81"]}
        database.execute(
            "UPDATE containers SET spec_json = ? WHERE name = 'old'", (json.dumps(spec),)
        )
    database.close()


def test_rows_that_cannot_be_read_are_left_out_and_can_be_removed(own_daemon: Daemon) -> None:
    daemon = own_daemon
    daemon.docker("tag", "busybox", "spoiled:1")
    daemon.docker("volume", "create", "spoiled")
    for name in ("spoiled", "subnet"):
        daemon.docker("network", "create", name)
    spoiled = ("spec", "mounts", "status", "state")
    for name in (*spoiled, "old", "well"):
        daemon.docker("run", "-d", "--name", name, "busybox", "sleep", "300")
    daemon.stop()
    _spoil(daemon)
    daemon.start()

    all_answer(daemon)
    listed = daemon.api("GET", "/containers/json?all=1")[1]
    assert {entry["Names"][0] for entry in listed} == {"/old", "/well"}
    ports = next(entry["Ports"] for entry in listed if entry["Names"] == ["/old"])
    assert [port["PrivatePort"] for port in ports] == [80, 81, 82]
    assert daemon.docker("exec", "well", "echo", "on") == "on\n"
    assert "well" in daemon.docker("run", "--rm", "--link", "well", "busybox", "cat", "/etc/hosts")
    for name in spoiled:
        why = daemon.docker("inspect", "--type", "container", name, status=1)
        assert "cannot be read" in why
        daemon.docker("rm", name, status=1)
        daemon.docker("rm", "-f", name)
        assert "no such object" in daemon.docker("inspect", name, status=1).lower()
    for kind in ("volume", "network"):
        assert "cannot be read" in daemon.docker(kind, "inspect", "spoiled", status=1)
    daemon.docker("network", "create", "another")
    for name in ("spoiled", "subnet"):
        daemon.docker("network", "rm", name)
    daemon.docker("volume", "rm", "spoiled", status=1)
    daemon.docker("volume", "rm", "-f", "spoiled")
    assert not (daemon.data_root / "volumes" / "spoiled").exists()
    for kind in PRUNES:
        assert daemon.api("POST", f"/{kind}/prune")[0] == 200, kind
    daemon.docker("rm", "-f", "old", "well")
    daemon.docker("image", "prune", "-af")


def test_what_lost_its_files_is_listed_and_pruned_like_the_others(own_daemon: Daemon) -> None:
    """Of a container the layer's directory and a volume's, of another the layer's row."""
    daemon = own_daemon
    for name in ("directory", "row"):
        daemon.docker("create", "--name", name, "-v", f"{name}:/v", "busybox", "true")
    daemon.stop()
    database = sqlite3.connect(daemon.data_root / "pier.db")
    ids = dict(database.execute("SELECT name, id FROM containers"))
    database.execute("DELETE FROM snapshots WHERE key = ?", (f"container/{ids['row']}",))
    query = "SELECT id FROM snapshots WHERE key = ?"
    number = database.execute(query, (f"container/{ids['directory']}",)).fetchone()[0]
    database.commit()
    database.close()
    shutil.rmtree(daemon.data_root / "snapshots" / str(number))
    shutil.rmtree(daemon.data_root / "volumes" / "directory")
    daemon.start()

    all_answer(daemon)
    listed = daemon.api("GET", "/containers/json?all=1&size=1")[1]
    assert {entry["Names"][0] for entry in listed} == {"/directory", "/row"}
    assert daemon.docker("inspect", "-s", "-f", "{{.SizeRw}}", "row") == "0\n"
    pruned = daemon.docker("system", "prune", "-af", "--volumes")
    assert all(container_id in pruned for container_id in ids.values())
    assert daemon.docker("ps", "-aq") + daemon.docker("images", "-q") == ""
