"""What old clients read is in every answer, whatever the version: answers are supersets.

Docker drops fields as its API goes on, for clients of the newer version only; but clients ask
without a version, or for the newest, and read what was there when they were written.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pier.api.schema.config import MAC_ADDRESS_MOVED, CreateBody, deprecations, to_spec
from pier.api.schema.containers import View, inspect_json
from pier.api.schema.decode import decode_body
from pier.api.schema.host import HostConfig, from_host, to_host
from pier.api.schema.images import inspect_json as image_json
from pier.api.schema.networks import CreateBody as NetworkBody
from pier.api.schema.networks import to_network
from pier.api.versions import FLOOR_VERSION, MAX_VERSION, SERVER_VERSION, ApiVersion
from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.oci.image import History, ImageConfig
from tests.unit.api_client import URL, Client, Run
from tests.unit.fake_containers import IMAGE, WEB
from tests.unit.schema_support import container, shown

VERSIONS = range(FLOOR_VERSION.minor, MAX_VERSION.minor + 1)
ANSWERS = (
    "/version", "/info", "/containers/json?all=1&size=1", "/containers/web/json?size=1",
    "/images/json", "/images/busybox/json", "/images/busybox/history", "/networks",
    "/networks/bridge", "/volumes", "/volumes/data", "/system/df",
)  # fmt: skip
# Docker shows who is on a network in lists of these versions only: it is slow.
SLOW = "[].Containers."
# No client from before 1.49 reads it, and Docker's own tests look that it is not there.
CAME_LATER = ".FirewallBackend"
MAC = "02:42:ac:11:00:02"


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The names of the fields of `value`, and of all it holds."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{prefix}.{key}"
            yield from paths(item, f"{prefix}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from paths(item, f"{prefix}[]")


@pytest.mark.parametrize("path", ANSWERS)
def test_a_field_of_any_version_is_there_at_every_version(path: str, run: Run) -> None:
    async def test(client: Client) -> None:
        fields = {
            minor: set(paths((await client.get(f"/v1.{minor}{path}")).json)) for minor in VERSIONS
        }
        apart = (SLOW, CAME_LATER)
        every = {field for field in set().union(*fields.values()) if not field.startswith(apart)}
        assert {minor: every - found for minor, found in fields.items() if every - found} == {}

    run(test)


@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.51"])
def test_the_fields_that_old_clients_read_are_there(version: str, run: Run) -> None:
    async def test(client: Client) -> None:
        image = (await client.get(f"{version}/images/busybox/json")).json
        assert image["ContainerConfig"] == image["Config"]
        assert image["VirtualSize"] == image["Size"]
        assert image["Config"]["Hostname"] == image["Parent"] == image["Container"] == ""
        info = (await client.get(f"{version}/info")).json
        assert ("FirewallBackend" in info) == (version != "/v1.24")
        fields = ("BridgeNfIptables", "BridgeNfIp6tables", "KernelMemory", "KernelMemoryTCP")
        assert [info[field] for field in fields] == [False] * 4
        assert info["RuncCommit"]["Expected"] == info["RuncCommit"]["ID"]
        box = (await client.get(f"{version}/containers/web/json")).json
        assert box["NetworkSettings"]["IPAddress"] == "172.17.0.2"

    run(test)


@pytest.mark.parametrize(
    ("created_by", "command"),
    [
        ("RUN /bin/sh -c echo a  b # buildkit", ["/bin/sh", "-c", "echo a  b"]),
        (
            "RUN |2 A=b C=d /bin/sh -c true # buildkit",
            ["|2", "A=b", "C=d", "/bin/sh", "-c", "true"],
        ),
        ('CMD ["sh"] # buildkit', None),
        ('RUN ["true"] # buildkit', None),
    ],
)
def test_the_container_of_an_image_is_what_its_last_step_ran(
    created_by: str, command: list[str] | None
) -> None:
    config = ImageConfig(history=(History(created_by="COPY"), History(created_by=created_by)))
    image = Image(id=IMAGE, manifest=IMAGE, chain_id="", config=config)
    assert image_json(image, ()).container_config["Cmd"] == command


@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.51"])
def test_events_name_their_object_in_the_old_way_too(version: str, run: Run) -> None:
    async def test(client: Client) -> None:
        client.engine.events.publish("container", "die", WEB, {"image": "busybox"})
        async with client.session.get(f"{URL}{version}/events?since=1") as response:
            event = json.loads(await response.content.readline())
        assert (event["status"], event["id"], event["from"]) == ("die", WEB, "busybox")

    run(test)


def created(body: dict[str, Any], minor: int = MAX_VERSION.minor) -> Any:  # Any: JSON
    """Config and warnings of a container that is created with `body`."""
    version = ApiVersion(1, minor)
    read = decode_body(json.dumps({"Image": "busybox", **body}).encode(), CreateBody)
    record = container(spec=to_spec(read, version))
    return shown(inspect_json(View(container=record), version))["Config"], deprecations(
        read, version
    )


def test_what_is_for_windows_is_kept_and_shown() -> None:
    asked = {"CpuCount": 2, "CpuPercent": 3, "IOMaximumIOps": 4, "IOMaximumBandwidth": 5}
    json = shown(from_host(to_host(decode_body(msgspec.json.encode(asked), HostConfig))))
    assert {name: json[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("fields", "options", "enabled"),
    [
        ({}, {}, (True, False)),
        ({}, {"com.docker.network.enable_ipv6": "true"}, (True, True)),
        ({"EnableIPv6": False}, {"com.docker.network.enable_ipv6": "1"}, (True, False)),
        ({"EnableIPv6": True}, {"com.docker.network.enable_ipv4": "f"}, (False, True)),
        ({"EnableIPv4": False, "EnableIPv6": True}, {}, (False, True)),
    ],
)
def test_ipv6_is_enabled_by_a_field_or_by_an_option(
    fields: dict[str, bool], options: dict[str, str], enabled: tuple[bool, bool]
) -> None:
    body = msgspec.json.encode({"Name": "n", "Options": options, **fields})
    network = to_network(decode_body(body, NetworkBody), MAX_VERSION)
    assert (network.enable_ipv4, network.enable_ipv6) == enabled


def test_an_option_that_is_no_boolean_is_refused() -> None:
    body = b'{"Name": "n", "Options": {"com.docker.network.enable_ipv6": "nope"}}'
    with pytest.raises(InvalidArgument, match='enable_ipv6" is not a valid bool'):
        to_network(decode_body(body, NetworkBody), MAX_VERSION)


def on(network: str, **settings: str) -> dict[str, Any]:
    return {
        "HostConfig": {"NetworkMode": network},
        "NetworkingConfig": {"EndpointsConfig": {network: settings}},
    }


@pytest.mark.parametrize("minor", VERSIONS)
@pytest.mark.parametrize(
    "body", [{"MacAddress": MAC}, {"MacAddress": MAC.upper()}, on("net", MacAddress=MAC)]
)
def test_the_mac_address_asked_for_is_in_the_config(body: dict[str, Any], minor: int) -> None:
    config, warnings = created(body, minor)
    assert config["MacAddress"] == MAC
    assert warnings == ([MAC_ADDRESS_MOVED] if "MacAddress" in body and minor >= 44 else [])


def test_without_a_mac_address_the_config_has_none() -> None:
    assert "MacAddress" not in created({})[0]
    assert "MacAddress" not in created({"MacAddress": MAC, **on("host")})[0]


def test_two_mac_addresses_are_one_too_many_since_the_endpoint_has_its_own() -> None:
    body = {"MacAddress": MAC, **on("net", MacAddress="02:42:ac:11:00:03")}
    assert created(body, 43)[0]["MacAddress"] == MAC
    with pytest.raises(InvalidArgument, match="must match the endpoint-specific MAC address"):
        created(body, 44)
    with pytest.raises(InvalidArgument, match="conflicting options: mac-address and the network"):
        created({"MacAddress": MAC, **on("host")}, 43)


def test_engine_and_api_are_a_pair_that_exists() -> None:
    """Docker's own: 28.3 to 28.5 speak 1.51; 29.0 and 29.1 speak 1.52."""
    assert (SERVER_VERSION, str(MAX_VERSION)) == ("28.5.2", "1.51")


@pytest.mark.parametrize("version", ["1.52", "1.99", "2.0"])
def test_a_newer_client_is_told_the_newest_version(version: str, run: Run) -> None:
    async def test(client: Client) -> None:
        answer = await client.get(f"/v{version}/info")
        text = f"client version {version} is too new. Maximum supported API version is 1.51"
        assert (answer.status, answer.json) == (400, {"message": text})
        assert answer.headers["Api-Version"] == "1.51"

    run(test)
