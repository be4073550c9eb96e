"""pier.containers.launch: all steps or none."""

import asyncio

import pytest

from pier.containers.launch import Launch, Step, bring_up, take_down
from pier.containers.model import Container
from pier.containers.spec import ContainerSpec
from pier.linux.mount import Overlay

STEPS = ("sandbox", "bundle", "monitor")


class WorldStep:
    """A step whose effect is a name in a list."""

    def __init__(self, name: str, world: list[str], *, fails: bool, stuck: bool) -> None:
        self.name, self.world, self.fails, self.stuck = name, world, fails, stuck

    async def up(self, launch: Launch) -> None:
        self.world.append(self.name)
        if self.fails:
            raise OSError(f"no {self.name}")

    async def down(self, container_id: str) -> None:
        if self.stuck:
            raise OSError(f"{self.name} of {container_id} is stuck")
        if self.name in self.world:
            self.world.remove(self.name)


def steps_in(world: list[str], *, fails_at: str = "", stuck_at: str = "") -> list[Step]:
    return [WorldStep(n, world, fails=n == fails_at, stuck=n == stuck_at) for n in STEPS]


def launch() -> Launch:
    container = Container(id="c1", name="web", image_id="i", spec=ContainerSpec())
    return Launch(container=container, overlay=Overlay(("/lower",)))


def test_all_steps_are_taken_in_order() -> None:
    world: list[str] = []
    asyncio.run(bring_up(steps_in(world), launch()))
    assert world == list(STEPS)


@pytest.mark.parametrize("fails_at", STEPS)
def test_a_failed_step_leaves_nothing_behind(fails_at: str) -> None:
    world: list[str] = []
    with pytest.raises(OSError, match=fails_at):
        asyncio.run(bring_up(steps_in(world, fails_at=fails_at), launch()))
    assert world == []


def test_taking_down_twice_is_fine() -> None:
    world = ["sandbox", "monitor"]  # as a crash may leave it
    for _ in range(2):
        asyncio.run(take_down(steps_in(world), "c1"))
    assert world == []


def test_a_stuck_step_does_not_keep_the_others() -> None:
    world = list(STEPS)
    with pytest.raises(ExceptionGroup, match="could not clean up"):
        asyncio.run(take_down(steps_in(world, stuck_at="bundle"), "c1"))
    assert world == ["bundle"]
