"""The engine made of records is one that the API can ask."""

import os

from pier.containers.spec import Resources
from tests.unit.fake_containers import WEB
from tests.unit.fake_engine import FakeEngine


def test_the_fake_has_what_a_container_needs() -> None:
    engine = FakeEngine()
    assert engine.containers.get("web").spec.host.resources == Resources()
    assert os.fspath(engine.paths.container(WEB)).endswith(WEB)
