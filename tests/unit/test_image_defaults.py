"""pier.containers.image_defaults: of an image's config only what a container can use."""

import time

from hypothesis import given
from hypothesis import strategies as st

from pier.containers.image_defaults import usable
from pier.oci.image import Healthcheck, RunConfig


def test_what_is_well_stays_as_it_is() -> None:
    run = RunConfig(
        exposed_ports=("53/udp", "80/tcp"), env=("A=1", "B"), stop_signal="SIGRTMIN+3",
        volumes=("/data",), healthcheck=Healthcheck(test=("CMD", "x"), interval_ns=10**6),
    )  # fmt: skip
    assert usable(run).run == run
    assert usable(run).warnings == ()


def test_what_cannot_be_used_is_left_out_and_named() -> None:
    found = usable(
        RunConfig(
            exposed_ports=("", "80-81", "9-8/tcp"), env=("=x", "", "B=1"), stop_signal="0",
            volumes=("data",), healthcheck=Healthcheck(interval_ns=1, timeout_ns=-5, retries=-1),
        )
    )  # fmt: skip
    assert found.run.exposed_ports == ("80/tcp", "81/tcp")
    assert found.run.env == ("B=1",)
    assert found.run.stop_signal == ""
    assert found.run.volumes == ("/data",)
    assert found.run.healthcheck == Healthcheck()
    assert len(found.warnings) == 5


def test_many_wide_ranges_cost_little() -> None:
    ranges = tuple(f"{first}-65535/tcp" for first in range(1, 20_000))
    begun = time.process_time()
    assert len(usable(RunConfig(exposed_ports=ranges)).run.exposed_ports) == 65535
    assert time.process_time() - begun < 10


@given(st.lists(st.text()), st.text())
def test_any_text_gives_something_usable(texts: list[str], signal: str) -> None:
    image = RunConfig(exposed_ports=tuple(texts), env=tuple(texts), stop_signal=signal)
    assert usable(usable(image).run).warnings == ()
