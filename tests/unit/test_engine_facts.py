"""What `docker info` is told."""

import pytest

from pier.containers.facts import HostFacts
from pier.engine.facts import _security_options
from pier.settings import Settings


@pytest.mark.parametrize(
    ("profiles", "shown"), [(frozenset(), False), (frozenset({"docker-default"}), True)]
)
def test_apparmor_is_shown_where_containers_get_a_profile(
    profiles: frozenset[str], *, shown: bool
) -> None:
    host = HostFacts(apparmor=True, apparmor_profiles=profiles)
    assert ("name=apparmor" in _security_options(Settings(), host)) is shown
