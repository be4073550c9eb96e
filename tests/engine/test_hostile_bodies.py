"""Whatever a body says, the answer is in words: no 500 is a bug of ours.

Of each kind of object a few hundred bodies are drawn, all the same ones at every run, and what is
made by one is used and removed.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from pier.api.schema.config import ContainerConfig
from pier.api.schema.config import CreateBody as ContainerBody
from pier.api.schema.endpoints import EndpointSettings
from pier.api.schema.execs import ExecBody, ExecStartBody
from pier.api.schema.host import HostConfig
from pier.api.schema.networks import ConnectBody, DisconnectBody, PoolJson
from pier.api.schema.networks import CreateBody as NetworkBody
from pier.api.schema.resources import DeviceMapping
from pier.api.schema.volumes import CreateBody as VolumeBody
from tests.daemon import Daemon
from tests.engine.odd_bodies import Body, bodies, over

BUG = re.compile(r"[A-Za-z_.]+(Error|Exception|Group|Interrupt)\b|Errno")
EXAMPLES = 25
BASE = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}

Strategy = st.SearchStrategy[Body]


class Alone(Daemon):
    """In a network of its own: subnets may be any."""

    @property
    @override
    def argv(self) -> list[str]:
        return ["unshare", "--net", *super().argv]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Alone(tmp_path_factory.mktemp("alone")) as daemon:
        daemon.docker("pull", "-q", "busybox")
        daemon.docker("network", "create", "--subnet", "10.98.0.0/16", "user")
        daemon.docker("run", "-d", "--name", "still", "busybox", "top")
        yield daemon


def ask(daemon: Daemon, method: str, path: str, body: object = None) -> Any:  # foreign JSON
    """The answer's JSON where there was success; None where it was refused."""
    status, told = daemon.api(method, path, body)
    text = told.get("message", "") if isinstance(told, dict) else str(told)
    assert not (status >= 500 and BUG.match(text)), (path, body, text)
    return told if status < 300 else None


def every(strategy: Strategy, check: Callable[[Body], object]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(body: Body) -> None:
        check(body)

    run()


HOSTS: Strategy = bodies(HostConfig).map(
    lambda odd: {**BASE, "HostConfig": {"NetworkMode": "none", **odd}}
)
DEVICES: Strategy = bodies(DeviceMapping).map(
    lambda odd: {**BASE, "HostConfig": {"NetworkMode": "none", "Devices": [odd]}}
)


@pytest.mark.parametrize("strategy", [HOSTS, DEVICES, over(BASE, ContainerBody)])
def test_containers(alone: Daemon, strategy: Strategy) -> None:
    def check(body: Body) -> None:
        made = ask(alone, "POST", "/containers/create", body)
        if made is None:
            return
        ask(alone, "POST", f"/containers/{made['Id']}/start")
        ask(alone, "GET", f"/containers/{made['Id']}/json")
        assert ask(alone, "GET", "/containers/json?all=1&size=1") is not None
        ask(alone, "DELETE", f"/containers/{made['Id']}?force=1&v=1")

    every(strategy, check)


SUBNETS = (
    "10.99.0.0/16 10.99.0.0/31 10.99.0.0/32 224.0.0.0/4 0.0.0.0/8 255.255.255.255/32 fd99::/64"
    " fd99::/127 fd99::/128 ff00::/8 fe80::/10 fe80::/64 ::/0 ::/64 ::ffff:10.9.0.0/112 2000::/3"
).split()
POOLS: Strategy = st.tuples(st.sampled_from(SUBNETS), bodies(PoolJson, fields=2)).map(
    lambda drawn: {
        "Name": "odd",
        "EnableIPv6": True,
        "IPAM": {"Config": [{**drawn[1], "Subnet": drawn[0]}]},
    }
)


@pytest.mark.parametrize("strategy", [POOLS, over({"Name": "odd"}, NetworkBody)])
def test_networks(alone: Daemon, strategy: Strategy) -> None:
    def check(body: Body) -> None:
        made = ask(alone, "POST", "/networks/create", body)
        assert ask(alone, "GET", "/networks") is not None
        if made is None:
            return
        user = {**BASE, "HostConfig": {"NetworkMode": made["Id"]}}
        container = ask(alone, "POST", "/containers/create", user)
        if container is not None:
            ask(alone, "POST", f"/containers/{container['Id']}/start")
            ask(alone, "DELETE", f"/containers/{container['Id']}?force=1")
        ask(alone, "DELETE", f"/networks/{made['Id']}")

    every(strategy, check)


def test_volumes(alone: Daemon) -> None:
    def check(body: Body) -> None:
        made = ask(alone, "POST", "/volumes/create", body)
        assert ask(alone, "GET", "/volumes") is not None
        if made is None:
            return
        user = {"NetworkMode": "none", "Binds": [f"{made['Name']}:/x"]}
        container = ask(alone, "POST", "/containers/create", {**BASE, "HostConfig": user})
        if container is not None:
            ask(alone, "POST", f"/containers/{container['Id']}/start")
            ask(alone, "DELETE", f"/containers/{container['Id']}?force=1")
        ask(alone, "DELETE", f"/volumes/{made['Name']}?force=1")

    every(bodies(VolumeBody), check)


def test_execs(alone: Daemon) -> None:
    def check(body: Body) -> None:
        made = ask(alone, "POST", "/containers/still/exec", {"Cmd": ["true"], **body})
        if made is not None:
            ask(alone, "POST", f"/exec/{made['Id']}/start", {"Detach": True})

    every(bodies(ExecBody), check)


CONNECTIONS: Strategy = bodies(EndpointSettings).map(
    lambda odd: {"Container": "still", "EndpointConfig": odd}
)


@pytest.mark.parametrize(
    ("path", "strategy"),
    [
        ("/exec/none/start", bodies(ExecStartBody)),
        ("/networks/none/connect", bodies(ConnectBody).map(lambda odd: {"Container": "x", **odd})),
        ("/networks/user/connect", over({"Container": "still"}, ConnectBody)),
        ("/networks/user/connect", CONNECTIONS),
        ("/networks/bridge/disconnect", over({"Container": "still"}, DisconnectBody)),
        ("/containers/still/update", bodies(HostConfig)),
        ("/commit?container=still&repo=odd", bodies(ContainerConfig)),
    ],
)
def test_what_is_done_with_them(alone: Daemon, path: str, strategy: Strategy) -> None:
    def check(body: Body) -> None:
        ask(alone, "POST", path, body)
        ask(alone, "POST", "/networks/user/disconnect", {"Container": "still", "Force": True})

    every(strategy, check)


@pytest.mark.parametrize("path", ["", "relative", "/", "/dev/null/x"])
def test_what_is_no_device_is_said_in_dockers_words(alone: Daemon, path: str) -> None:
    body = {**BASE, "HostConfig": {"NetworkMode": "none", "Devices": [{"PathOnHost": path}]}}
    _, made = alone.api("POST", "/containers/create", body)
    status, told = alone.api("POST", f"/containers/{made['Id']}/start")
    words = f'error gathering device information while adding custom device "{path}": '
    assert (status, told["message"][: len(words)]) == (500, words)
    alone.docker("rm", made["Id"])


def test_a_bug_is_none_of_ours(alone: Daemon) -> None:
    """Last: nothing of all this ended in a traceback."""
    found = [line for line in alone.log.read_text().splitlines() if "Traceback" in line]
    assert len(found) == 0
