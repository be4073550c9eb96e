"""`--link`: its forms, and what a container is told."""

import pytest

from pier.containers.links import InvalidLink, Link, environment, host_entries, parse_link
from pier.containers.model import Container
from pier.containers.spec import ContainerSpec


def container(name: str, **spec: object) -> Container:
    return Container(id=name * 8, name=name, image_id="", spec=ContainerSpec(**spec))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name", "alias"),
    [
        ("web", "web", "web"),
        ("web:db", "web", "db"),
        ("/web:/user/db", "web", "db"),
        ("/web", "web", "web"),
    ],
)
def test_forms_of_a_link(text: str, name: str, alias: str) -> None:
    assert parse_link(text) == (name, alias)


@pytest.mark.parametrize("text", ["", ":", "web:", ":db", "a:b:c"])
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(InvalidLink):
        parse_link(text)


def test_the_variables_of_a_link() -> None:
    other = container(
        "web",
        hostname="host",
        exposed_ports=("443/tcp", "53/udp"),
        env=("PATH=/bin", "HOME=/", "COLOR=blue", "GONE"),
    )
    links = [Link(other, "my-db", "10.0.0.2")]
    assert host_entries(links) == ("my-db host web:10.0.0.2",)
    assert environment(container("user"), links) == (
        "MY_DB_PORT=udp://10.0.0.2:53",
        "MY_DB_PORT_53_UDP=udp://10.0.0.2:53",
        "MY_DB_PORT_53_UDP_ADDR=10.0.0.2",
        "MY_DB_PORT_53_UDP_PORT=53",
        "MY_DB_PORT_53_UDP_PROTO=udp",
        "MY_DB_PORT_443_TCP=tcp://10.0.0.2:443",
        "MY_DB_PORT_443_TCP_ADDR=10.0.0.2",
        "MY_DB_PORT_443_TCP_PORT=443",
        "MY_DB_PORT_443_TCP_PROTO=tcp",
        "MY_DB_NAME=/user/my-db",
        "MY_DB_ENV_COLOR=blue",
    )


def test_an_alias_that_is_the_name_is_written_once() -> None:
    other = container("web", hostname="web")
    assert host_entries([Link(other, "web", "10.0.0.2")]) == ("web:10.0.0.2",)
