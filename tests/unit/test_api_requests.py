"""What clients ask in Docker's JSON: what is understood, what is refused, of which version."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api.schema.config import CreateBody
from pier.api.schema.decode import decode_body
from pier.api.schema.resources import asked_changes
from pier.api.versions import MAX_VERSION, ApiVersion, negotiated
from pier.containers.spec import DeviceRate, EndpointSpec, PortBinding, Resources
from pier.errors import InvalidArgument
from tests.unit.schema_support import asked

V1_41 = ApiVersion(1, 41)

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
        ({"HostConfig": {"Memory": "lots"}}, "CreateRequest.HostConfig.Memory of type int64"),
        ({"Labels": 5}, "CreateRequest.Labels of type map[string]string"),
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
        ({"MacAddress": "x"}, "invalid config for network bridge: invalid MAC address x"),
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
            "invalid config for network n: invalid MAC address x",
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
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (
            b"[]",
            "invalid JSON: json: cannot unmarshal array into Go value",
        ),
        (b'"\x80"', "invalid JSON: invalid start byte"),
        (b'{"HostConfig": ' * 100, "invalid JSON: "),
        (b"{" + b" " * 70_000, "invalid JSON: Input data was truncated"),
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
            "Container cannot be created with multiple network endpoints: a, b",
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


def test_an_update_changes_only_what_is_not_zero() -> None:
    rates = (DeviceRate(path="/dev/sda", rate=1),)
    resources = Resources(memory=5, pids_limit=0, device_read_bps=rates)
    assert asked_changes(resources, MAX_VERSION) == {"memory": 5, "pids_limit": 0}
    assert asked_changes(resources, ApiVersion(1, 39)) == {"memory": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please"),
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
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
