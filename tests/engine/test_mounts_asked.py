"""Mounts as they are asked for: read-only how deep, of which driver, of the daemon's files."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.linux.mount import unmount_all
from tests.daemon import Daemon


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file system, that can be written to, mounted on `inner`."""
    (tmp_path / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", tmp_path / "inner"], check=True)
    yield tmp_path
    unmount_all(tmp_path / "inner")


def create(daemon: Daemon, host: dict[str, Any], version: str = "1.51", **config: Any) -> Any:
    """What the daemon answers: status and JSON."""
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host, **config}
    return daemon.api("POST", f"/v{version}/containers/create", body)


def output(daemon: Daemon, made: Any) -> str:
    assert made[0] == 201, made
    return daemon.docker("start", "-a", made[1]["Id"])


@pytest.mark.parametrize(("version", "access"), [("1.43", "rw"), ("1.44", "ro")])
def test_read_only_binds_are_recursive_since_api_1_44(
    daemon: Daemon, tree: Path, version: str, access: str
) -> None:
    hosts: tuple[dict[str, Any], ...] = (
        {"Binds": [f"{tree}:/m:ro"]},
        {"Mounts": [{"Type": "bind", "Source": str(tree), "Target": "/m", "ReadOnly": True}]},
    )
    for host in hosts:
        script = ["sh", "-c", "grep ' /m' /proc/self/mountinfo"]
        found = output(daemon, create(daemon, host, version, Cmd=script)).splitlines()
        accesses = {line.split()[4]: line.split()[5].split(",")[0] for line in found}
        assert accesses == {"/m": "ro", "/m/inner": access}


@pytest.mark.parametrize("options", ["", ",readonly"])
def test_a_bind_that_is_not_recursive_has_nothing_below(
    daemon: Daemon, tree: Path, options: str
) -> None:
    mount = f"type=bind,src={tree},dst=/m,bind-recursive=disabled{options}"
    script = "grep -c ' /m' /proc/self/mountinfo"
    assert daemon.docker("run", "--rm", "--mount", mount, "busybox", "sh", "-c", script) == "1\n"


def test_a_bind_of_the_daemons_root_is_a_slave_or_refused(daemon: Daemon) -> None:
    below = daemon.data_root / "volumes"
    for source in (daemon.data_root, below, daemon.data_root.parent):
        status, made = create(daemon, {"Binds": [f"{source}:/d"]})
        assert status == 201
        shown = daemon.api("GET", f"/containers/{made['Id']}/json")[1]
        assert shown["Mounts"][0]["Propagation"] == "rslave"
        daemon.docker("start", "-a", made["Id"])  # also where nothing on the host is shared
    for propagation in ("private", "rprivate", "slave", "shared"):
        mount = {"Type": "bind", "Source": str(below), "Target": "/d"}
        mount["BindOptions"] = {"Propagation": propagation}  # type: ignore[assignment]  # JSON
        for host in ({"Binds": [f"{below}:/d:{propagation}"]}, {"Mounts": [mount]}):
            status, refused = create(daemon, host)
            assert status == 400
            assert "must use either propagation mode" in refused["message"]
    status, made = create(daemon, {"Binds": [f"{daemon.root / 'other'}:/d"]})
    shown = daemon.api("GET", f"/containers/{made['Id']}/json")[1]
    assert shown["Mounts"][0]["Propagation"] == "rprivate"


@pytest.mark.parametrize(
    ("host", "config"),
    [
        ({"Binds": ["/v"], "VolumeDriver": "odd"}, {}),
        ({"VolumeDriver": "odd"}, {"Volumes": {"/v": {}}}),
        ({"Binds": ["named:/v"], "VolumeDriver": "odd"}, {}),
        (
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Target": "/v",
                        "VolumeOptions": {"DriverConfig": {"Name": "odd"}},
                    }
                ]
            },
            {},
        ),
    ],
)
def test_a_driver_that_is_asked_for_is_not_replaced_by_another(
    daemon: Daemon, host: dict[str, Any], config: dict[str, Any]
) -> None:
    before = daemon.docker("volume", "ls", "-q")
    status, refused = create(daemon, host, **config)
    assert status == 404
    assert 'error looking up volume plugin odd: plugin "odd" not found' in refused["message"]
    assert daemon.docker("volume", "ls", "-q") == before


def test_an_anonymous_volume_with_a_slash_at_its_end_is_one_and_gives_way_to_a_tmpfs(
    daemon: Daemon,
) -> None:
    def mounts(host: dict[str, Any], *volumes: str) -> list[tuple[str, str]]:
        made = create(daemon, host, Volumes={path: {} for path in volumes})
        shown = daemon.api("GET", f"/containers/{made[1]['Id']}/json")[1]
        output(daemon, made)
        return [(mount["Type"], mount["Destination"]) for mount in shown["Mounts"]]

    assert mounts({}, "/v/", "/v") == [("volume", "/v")]
    assert mounts({"Tmpfs": {"/v": ""}}, "/v/") == []
    unfilled = {"Type": "volume", "Target": "/bin/", "VolumeOptions": {"NoCopy": True}}
    made = create(daemon, {"Mounts": [unfilled]})
    name = daemon.api("GET", f"/containers/{made[1]['Id']}/json")[1]["Mounts"][0]["Name"]
    assert not any((daemon.data_root / "volumes" / name / "_data").iterdir())


def test_a_part_of_a_volume_is_filled_as_a_whole_one_is(daemon: Daemon) -> None:
    made = "mkdir /v/bin; ln -s / /v/out"
    daemon.docker("run", "--rm", "-v", "parts:/v", "busybox", "sh", "-c", made)

    def at_bin(subpath: str) -> Any:
        options = {"Subpath": subpath}
        mount = {"Type": "volume", "Source": "parts", "Target": "/bin", "VolumeOptions": options}
        return create(daemon, {"Mounts": [mount]}, Cmd=["busybox", "echo", "filled"])

    assert output(daemon, at_bin("bin")) == "filled\n"
    status, refused = at_bin("out")
    assert (status, "path concatenation escapes" in refused["message"]) == (400, True)
    status, made = at_bin("none")
    assert status == 201
    assert daemon.api("POST", f"/containers/{made['Id']}/start")[0] == 404
