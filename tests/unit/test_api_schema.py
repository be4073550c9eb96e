"""Pier's values in Docker's JSON: what is kept on the way and back, what is shown."""

from dataclasses import replace

import msgspec
import pytest

from pier.api.schema.archive import go_mode
from pier.api.schema.config import CreateBody, from_spec, to_spec
from pier.api.schema.containers import View, inspect_json, summary_json
from pier.api.schema.decode import decode_body
from pier.api.schema.endpoints import EndpointSettings
from pier.api.schema.host import HostConfig, from_host, to_host
from pier.api.schema.images import run_config
from pier.api.schema.progress import human_size, message_json, progress_bar
from pier.api.versions import MAX_VERSION
from pier.containers.model import Status
from pier.containers.spec import (
    ContainerSpec,
    DeviceRate,
    Healthcheck,
    HostSpec,
    LogSpec,
    MountRequest,
    PortBinding,
    Resources,
    RestartPolicy,
    Ulimit,
)
from pier.containers.state import State
from pier.images.transfer import Step
from pier.oci.image import RunConfig
from tests.unit.schema_support import container, shown

FULL = HostSpec(
    binds=("/a:/b",),
    mounts=(
        MountRequest(kind="volume", target="/v", source="v", no_copy=True, volume_driver="local"),
        MountRequest(kind="tmpfs", target="/t", tmpfs_size=5, tmpfs_options=(("uid", "1"),)),
        MountRequest(kind="bind", target="/x", source="/y", readonly=True, propagation="rslave"),
        MountRequest(kind="image", target="/i", source="busybox", subpath="etc"),
    ),
    volumes_from=("other:ro",),
    tmpfs={"/run": "size=1m"},
    log=LogSpec(driver="json-file", options={"max-size": "1m"}),
    network_mode="own",
    port_bindings=(
        PortBinding(port=80, host_ip="127.0.0.1", host_port="8080"),
        PortBinding(port=53, protocol="udp", host_port="53"),
    ),
    restart=RestartPolicy(name="on-failure", max_retries=3),
    dns=("1.1.1.1",),
    extra_hosts=("a:1.2.3.4",),
    cap_add=("NET_ADMIN",),
    masked_paths=(),
    readonly_paths=("/proc/x",),
    sysctls={"net.core.somaxconn": "1"},
    init=True,
    annotations={"a": "b"},
    storage_options={"size": "1G"},
    shm_size=1 << 20,
    runtime="crun",
    ipc_mode="host",
    resources=Resources(
        memory=1 << 30,
        oom_kill_disable=False,
        pids_limit=5,
        ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
        device_read_bps=(DeviceRate(path="/dev/sda", rate=1),),
        device_write_iops=(DeviceRate(path="/dev/sda", rate=2),),
        blkio_weight_device=(DeviceRate(path="/dev/sda", rate=10),),
        cpuset_cpus="0-1",
    ),
)


def test_a_host_config_survives_the_way_there_and_back() -> None:
    data = msgspec.json.encode(from_host(FULL))
    assert to_host(decode_body(data, HostConfig)) == FULL


def test_a_config_survives_the_way_there_and_back() -> None:
    spec = ContainerSpec(
        image="busybox",
        hostname="h",
        user="1",
        tty=True,
        env=("A=b",),
        cmd=("a",),
        entrypoint=("b",),
        healthcheck=Healthcheck(test=("NONE",)),
        exposed_ports=("80/tcp",),
        volumes=("/v",),
        labels={"a": "b"},
        stop_signal="SIGINT",
        stop_timeout_s=0,
        shell=("/bin/sh",),
        network_disabled=True,
    )
    body = decode_body(msgspec.json.encode(from_spec(spec)), CreateBody)
    back = replace(to_spec(body, MAX_VERSION), host=HostSpec())
    assert back == spec


def test_an_empty_host_config_has_dockers_nulls_and_lists() -> None:
    json = shown(from_host(HostSpec()))
    assert json["Binds"] is None
    assert json["CapAdd"] is None
    assert json["Dns"] is None
    assert json["Devices"] is None
    assert json["PortBindings"] is None
    assert json["PidsLimit"] is None
    assert json["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert json["ShmSize"] == 64 << 20
    assert json["NetworkMode"] == "bridge"
    assert json["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert "/proc/kcore" in json["MaskedPaths"]
    assert "Init" not in json
    assert json["UTSMode"] == ""
    assert json["BlkioDeviceReadIOps"] is None


def test_what_was_asked_for_as_empty_is_shown_as_empty() -> None:
    asked: dict[str, object] = {
        "Dns": [],
        "CapAdd": [],
        "PortBindings": {},
        "BlkioDeviceReadBps": [],
        "Ulimits": None,
    }
    host = to_host(decode_body(msgspec.json.encode(asked), HostConfig))
    json = shown(from_host(host))
    assert {name: json[name] for name in asked} == asked
    assert json["Devices"] is None


def test_a_container_that_never_ran_has_zero_times_and_no_ports() -> None:
    json = shown(inspect_json(View(container=container()), MAX_VERSION))
    assert json["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert json["State"]["Status"] == "created"
    assert json["NetworkSettings"]["Ports"] == {}
    assert json["Name"] == "/web"
    assert json["ExecIDs"] is None
    assert "Health" not in json["State"]
    assert "SizeRw" not in json


def test_the_fields_of_the_bridge_are_repeated_above_the_networks() -> None:
    endpoint = EndpointSettings(ip_address="172.17.0.2", mac_address="02:42:ac:11:00:02")
    view = View(container=container(), endpoints={"bridge": endpoint})
    settings = shown(inspect_json(view, MAX_VERSION))["NetworkSettings"]
    assert (settings["IPAddress"], settings["MacAddress"]) == ("172.17.0.2", "02:42:ac:11:00:02")


@pytest.mark.parametrize(
    ("state", "flags"),
    [
        (State.RUNNING, (True, False, False, False)),
        (State.PAUSED, (True, True, False, False)),
        (State.RESTARTING, (True, False, True, False)),
        (State.EXITED, (False, False, False, False)),
        (State.DEAD, (False, False, False, True)),
    ],
)
def test_a_state_is_told_by_name_and_by_flags(
    state: State, flags: tuple[bool, bool, bool, bool]
) -> None:
    json = shown(inspect_json(View(container=container(state=state)), MAX_VERSION))["State"]
    assert json["Status"] == state.value
    assert tuple(json[key] for key in ("Running", "Paused", "Restarting", "Dead")) == flags


def test_a_command_is_joined_and_quoted_where_it_has_spaces() -> None:
    spec = ContainerSpec(entrypoint=("sh",), cmd=("-c", "echo hi", "x"))
    view = View(container=replace(container(), spec=spec))
    assert summary_json(view, MAX_VERSION, 0).command == "sh -c 'echo hi' x"


def test_the_pid_of_what_has_ended_is_not_shown() -> None:
    record = container(state=State.EXITED, status=Status(pid=7))
    assert inspect_json(View(container=record), MAX_VERSION).state.pid == 0


def test_an_image_config_has_the_fields_of_a_container_too() -> None:
    config = run_config(RunConfig(cmd=("sh",)))
    assert (config["Cmd"], config["Env"], config["Hostname"]) == (["sh"], None, "")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o100644, 0o644),
        (0o40755, 1 << 31 | 0o755),
        (0o41777, 1 << 31 | 1 << 20 | 0o777),
        (0o120777, 1 << 27 | 0o777),
        (0o104755, 1 << 23 | 0o755),
        (0o20666, 1 << 26 | 1 << 21 | 0o666),
    ],
)
def test_modes_are_gos(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected


def test_progress_has_a_detail_and_an_error_has_both_forms() -> None:
    step = Step(status="Downloading", id="abc", current=5, total=10)
    json = shown(message_json(step))
    assert json["progressDetail"] == {"current": 5, "total": 10}
    assert json["progress"].startswith("[=========================>  ")
    waiting = shown(message_json(Step(status="Waiting", id="abc")))
    assert waiting == {"status": "Waiting", "progressDetail": {}, "id": "abc"}
    failed = shown(message_json(Step(error="no", error_code=3)))
    assert failed == {"errorDetail": {"code": 3, "message": "no"}, "error": "no"}


def test_sizes_have_four_digits() -> None:
    assert human_size(999) == "999B"
    assert human_size(1_234_567) == "1.235MB"
    assert progress_bar(10, 0) == "     10B"
    assert progress_bar(50, 50) == f"[{'=' * 50}>]      50B/50B"
