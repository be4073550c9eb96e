"""Pier beside what dockerd answered to the same command lines."""

from collections.abc import Iterator

import pytest

from tests.daemon import Daemon
from tests.docker_client import docker_major
from tests.parity.engine import Engine
from tests.parity.running import make_archive, run_scenario
from tests.parity.scenario import difference, parse_scenario, read_scenario, topics

pytestmark = pytest.mark.skipif(docker_major() != 28, reason="recorded with Docker's client 28")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place = tmp_path_factory.mktemp("parity")
    with Daemon(place / "pier") as daemon:
        make_archive(daemon, place / "image.tar")
        daemon.docker("load", "-i", str(place / "image.tar"))
        yield Engine(daemon.host)


@pytest.mark.parametrize("topic", topics())
def test_pier_answers_as_dockerd_did(topic: str, engine: Engine) -> None:
    scenario = read_scenario(topic)
    pairs = zip(scenario.steps, run_scenario(scenario, engine), strict=True)
    differences = "".join(difference(step, result) for step, result in pairs)
    assert not differences, differences


@pytest.mark.parametrize("topic", topics())
def test_a_scenario_is_recorded_and_its_reasons_are_needed(topic: str) -> None:
    scenario = read_scenario(topic)
    assert parse_scenario(topic, scenario.text()) == scenario
    assert not [step.line for step in scenario.steps if step.reason and step.own == step.recorded]


def test_another_answer_is_a_difference(engine: Engine) -> None:
    scenario = parse_scenario("own", "$ docker ps -q\n  a\n! b\n= 3\n")
    (result,) = run_scenario(scenario, engine)
    shown = difference(scenario.steps[0], result).splitlines()
    assert shown[0] == "$ docker ps -q"
    assert shown[2:5] == ["-  a", "-! b", "-= 3"]
