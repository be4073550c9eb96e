"""pier.containers.merge: the user's word wins, the image fills in."""

import pytest

from pier.containers.merge import NoCommand, merge, merged_env
from pier.containers.spec import ContainerSpec, Healthcheck
from pier.oci.image import RunConfig

IMAGE = RunConfig(
    user="app",
    env=("PATH=/bin", "A=image"),
    entrypoint=("/entry",),
    cmd=("serve",),
    exposed_ports=("80/tcp",),
    labels={"who": "image", "kept": "yes"},
    healthcheck=Healthcheck(test=("CMD", "true"), retries=5),
)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "argv"),
    [
        (None, None, ("/entry", "serve")),
        (None, ("x",), ("/entry", "x")),
        (("/own",), None, ("/own",)),
        (("/own",), ("x",), ("/own", "x")),
        (("",), ("x",), ("x",)),
        ((), ("x",), ("x",)),
    ],
)
def test_command(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, argv: tuple[str, ...]
) -> None:
    merged = merge(ContainerSpec(entrypoint=entrypoint, cmd=cmd), IMAGE)
    assert (merged.entrypoint or ()) + (merged.cmd or ()) == argv


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(NoCommand, match="no command specified"):
        merge(ContainerSpec(), RunConfig())
    with pytest.raises(NoCommand):
        merge(ContainerSpec(entrypoint=("",)), IMAGE)


def test_what_the_user_did_not_say_comes_from_the_image() -> None:
    merged = merge(ContainerSpec(labels={"who": "user"}, exposed_ports=("9/udp",)), IMAGE)
    assert merged.user == "app"
    assert merged.labels == {"who": "user", "kept": "yes"}
    assert merged.exposed_ports == ("80/tcp", "9/udp")


def test_health_is_merged_by_field() -> None:
    merged = merge(ContainerSpec(healthcheck=Healthcheck(interval_ns=7)), IMAGE)
    assert merged.healthcheck == Healthcheck(test=("CMD", "true"), interval_ns=7, retries=5)


def test_env_of_the_user_comes_first_and_wins() -> None:
    assert merged_env(("A=user", "PATH"), IMAGE.env) == ("A=user", "PATH")
    assert merged_env(("B=1",), IMAGE.env) == ("B=1", "PATH=/bin", "A=image")
