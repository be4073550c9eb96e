"""Docker's JSON to Pier's values and back: what is refused, what is kept, what is shown."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api.schema.archive import go_mode
from pier.api.schema.config import CreateBody, from_spec, to_spec
from pier.api.schema.containers import View, inspect_json, summary_json
from pier.api.schema.decode import decode_body
from pier.api.schema.host import HostConfig, from_host, to_host
from pier.api.schema.images import run_config
from pier.api.schema.progress import human_size, message_json, progress_bar
from pier.api.schema.resources import asked_changes
from pier.api.versions import MAX_VERSION, ApiVersion, negotiated
from pier.containers.model import Container, Status
from pier.containers.spec import (
    ContainerSpec,
    DeviceRate,
    EndpointSpec,
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
from pier.errors import InvalidArgument
from pier.images.transfer import Step
from pier.oci.image import RunConfig

V1_41 = ApiVersion(1, 41)


def asked(body: dict[str, Any], version: ApiVersion = MAX_VERSION) -> ContainerSpec:
    body = {"Image": "busybox"} | body
    return to_spec(decode_body(json.dumps(body).encode(), CreateBody), version)


def shown(value: object) -> Any:  # JSON: its shape is what the tests are about
    return msgspec.json.decode(msgspec.json.encode(value))


# What `docker run -it --rm -p 8080:80 -v data:/data -e A=b --name x busybox sh` sends, shortened.
FROM_THE_CLI = {
    "Hostname": "", "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
    "ExposedPorts": {"80/tcp": {}}, "Tty": True, "OpenStdin": True, "StdinOnce": True,
    "Env": ["A=b"], "Cmd": ["sh"], "Image": "busybox", "Volumes": {}, "Entrypoint": None,
    "OnBuild": None, "Labels": {}, "HostConfig": {
        "Binds": ["data:/data"], "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": True,
        "ConsoleSize": [24, 80], "CapAdd": None, "Dns": [], "MemorySwappiness": -1,
        "OomKillDisable": False, "PidsLimit": 0, "Init": None, "MaskedPaths": None,
    }, "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Links": None}}},
}  # fmt: skip


def test_what_the_cli_sends_is_understood() -> None:
    spec = asked(FROM_THE_CLI)
    assert spec.cmd == ("sh",)
    assert spec.entrypoint is None
    assert spec.host.port_bindings == (PortBinding(port=80, host_port="8080"),)
    assert spec.host.console_size == (24, 80)
    assert spec.host.resources == Resources(oom_kill_disable=False, pids_limit=0)
    assert spec.endpoints == {"bridge": EndpointSpec()}


def test_keys_are_read_in_any_case_and_nulls_are_not_given() -> None:
    assert asked({"image": "a", "hostconfig": {"memory": 8, "nanocpus": None}}) == replace(
        asked({"Image": "a", "HostConfig": {"Memory": 8}}), image="a"
    )


def test_a_command_may_be_one_string() -> None:
    spec = asked({"Cmd": "ls", "Entrypoint": ["a", "b"]})
    assert (spec.cmd, spec.entrypoint) == (("ls",), ("a", "b"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"HostConfig": {"Memory": "lots"}}, "$.HostConfig.Memory"),
        ({"Labels": 5}, "$.Labels"),
        ({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, "unknown policy 'sometimes'"),
        (
            {"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}},
            "maximum retry count can only be used with 'on-failure'",
        ),
        (
            {"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -2}}},
            "maximum retry count cannot be negative",
        ),
        (
            {"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"ExposedPorts": {"99999/tcp": {}}}, "invalid port specification: 99999"),
        ({"ExposedPorts": {"80/icmp": {}}}, "invalid port specification"),
        (
            {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}},
            "invalid port specification: x",
        ),
        ({"Healthcheck": {"Interval": 5}}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
        ({"Volumes": {"/": {}}}, "invalid volume specification: '/'"),
        ({"MacAddress": "02:42:ac:11:00:02"}, "container-wide MAC address no longer supported"),
        (
            {"HostConfig": {"Mounts": [{"Type": "bind", "Target": "/x"}]}},
            'invalid mount config for type "bind": field Source must not be empty',
        ),
        (
            {"HostConfig": {"Mounts": [{"Type": "tape", "Target": "/x"}]}},
            'invalid mount config for type "tape": mount type unknown',
        ),
        (
            {"HostConfig": {"Mounts": [{"Type": "volume", "Target": "x"}]}},
            "mount path must be absolute",
        ),
        ({"HostConfig": {"Dns": ["here"]}}, "invalid DNS address: here"),
        ({"HostConfig": {"Dns": ["fe80::1%eth0\nnameserver 1.2.3.4"]}}, "invalid DNS address"),
        ({"HostConfig": {"ExtraHosts": ["nope"]}}, 'bad format for add-host: "nope"'),
        ({"HostConfig": {"ExtraHosts": ["a\n1.2.3.4 bank:1.2.3.4"]}}, "bad format for add-host"),
        (
            {"HostConfig": {"ExtraHosts": ["a:1.2.3.4\n1.2.3.4 bank"]}},
            "invalid IP address in add-host",
        ),
        (
            {"HostConfig": {"PortBindings": {"80/sctp": [{"HostIp": "fe80::1%} ; flush"}]}}},
            "invalid host IP address: fe80::1%} ; flush",
        ),
        ({"Env": ["A=b\0c"]}, "invalid JSON: a string with a NUL"),
        ({"HostConfig": {"Sysctls": {"net.x\0": "1"}}}, "invalid JSON: a string with a NUL"),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"n": {"IPAMConfig": {"IPv4Address": "x"}}}}},
            "invalid IPv4 address: x",
        ),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"n": {"MacAddress": "x"}}}},
            "x is not a valid mac address",
        ),
        ({"Image": ""}, "no command specified"),
    ],
)
def test_what_no_host_could_do_is_refused_in_dockers_words(
    body: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(body)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"Image": "a"} {}', "unexpected content after JSON"),
        (b"{", "invalid JSON: "),
        (b"[]", "invalid JSON: "),
        (b'"\x80"', "invalid JSON: invalid start byte"),
        (b'{"HostConfig": ' * 100, "invalid JSON: "),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_body(data, CreateBody)
    assert str(caught.value).startswith(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_an_invalid_argument(data: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        decode_body(data, CreateBody)


def test_exposed_ranges_become_single_ports_in_order() -> None:
    ports: dict[str, dict[str, str]] = {"9-10/udp": {}, "80": {}, "8/tcp": {}}
    assert asked({"ExposedPorts": ports}).exposed_ports == ("8/tcp", "9/udp", "10/udp", "80/tcp")


def test_older_clients_get_the_settings_of_their_time() -> None:
    body = {
        "MacAddress": "02:42:ac:11:00:02",
        "HostConfig": {"ConsoleSize": [1, 2], "Annotations": {"a": "b"}},
    }
    spec = asked(body, V1_41)
    assert spec.host.console_size == (0, 0)
    assert spec.host.annotations == {}
    assert spec.endpoints["bridge"].mac_address == "02:42:ac:11:00:02"
    assert asked({}, ApiVersion(1, 39)).host.ipc_mode == "shareable"
    assert asked({}, ApiVersion(1, 40)).host.cgroupns_mode == "host"


@pytest.mark.parametrize(
    ("body", "version", "message"),
    [
        (
            {"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}},
            43,
            "Container cannot be connected to network endpoints: a, b",
        ),
        (
            {"HostConfig": {"Mounts": [{"Type": "image", "Source": "a", "Target": "/a"}]}},
            47,
            "mount type image requires API version 1.48",
        ),
    ],
)
def test_what_came_later_is_refused(body: dict[str, Any], version: int, message: str) -> None:
    asked(body)
    with pytest.raises(InvalidArgument, match=message):
        asked(body, ApiVersion(1, version))


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
    assert json["Dns"] == []
    assert json["Devices"] == []
    assert json["PortBindings"] == {}
    assert json["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert json["ShmSize"] == 64 << 20
    assert json["NetworkMode"] == "bridge"
    assert json["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert "/proc/kcore" in json["MaskedPaths"]
    assert "Init" not in json
    assert json["UTSMode"] == ""
    assert json["BlkioDeviceReadIOps"] == []


def container(**changes: Any) -> Container:
    return Container(id="a" * 64, name="web", image_id="sha256:1", spec=ContainerSpec(), **changes)


def test_a_container_that_never_ran_has_zero_times_and_no_ports() -> None:
    json = shown(inspect_json(View(container=container()), MAX_VERSION))
    assert json["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert json["State"]["Status"] == "created"
    assert json["NetworkSettings"]["Ports"] == {}
    assert json["Name"] == "/web"
    assert json["ExecIDs"] is None
    assert "Health" not in json["State"]
    assert "SizeRw" not in json


def test_bridge_fields_are_repeated_for_clients_before_1_52() -> None:
    view = View(container=container())
    assert "IPAddress" in shown(inspect_json(view, ApiVersion(1, 51)))["NetworkSettings"]
    assert "IPAddress" not in shown(inspect_json(view, MAX_VERSION))["NetworkSettings"]


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


def test_an_update_changes_only_what_is_not_zero() -> None:
    rates = (DeviceRate(path="/dev/sda", rate=1),)
    resources = Resources(memory=5, pids_limit=0, device_read_bps=rates)
    newest = {"memory": 5, "pids_limit": 0, "device_read_bps": rates}
    assert asked_changes(resources, MAX_VERSION) == newest
    assert asked_changes(resources, ApiVersion(1, 54)) == {"memory": 5, "pids_limit": 0}
    assert asked_changes(resources, ApiVersion(1, 39)) == {"memory": 5}


def test_an_image_config_loses_its_empty_fields_with_1_52() -> None:
    run = RunConfig(cmd=("sh",))
    assert run_config(run, MAX_VERSION) == {"Cmd": ["sh"]}
    assert run_config(run, ApiVersion(1, 51))["Env"] is None
    assert run_config(run, ApiVersion(1, 49))["Hostname"] == ""


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
    assert progress_bar(10, 0) == "10B"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please"),
        ("1.57", "client version 1.57 is too new. Maximum supported API version is 1.56"),
        ("1..2", "invalid API version"),
    ],
)
def test_versions_out_of_range_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        negotiated(text)
    assert str(caught.value).startswith(message)


def test_no_version_is_the_newest() -> None:
    assert negotiated(None) == MAX_VERSION
    assert negotiated("1.41").at_least(41)
    assert not negotiated("1.41").at_least(42)
