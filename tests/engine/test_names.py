"""How containers are found by others: renamed, linked, sharing a network."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, wait_until


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


def sleeping(daemon: Daemon, name: str, *options: str) -> None:
    daemon.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "300")


def looks_up(daemon: Daemon, asker: str, name: str) -> bool:
    done = daemon.run(["docker", "exec", asker, "nslookup", "-type=a", name, "127.0.0.11"])
    return done.returncode == 0


def test_a_running_container_is_found_by_its_new_name_at_once(daemon: Daemon) -> None:
    daemon.docker("network", "create", "names")
    sleeping(daemon, "asker", "--network", "names")
    sleeping(daemon, "before", "--network", "names", "--network-alias", "alias")
    assert looks_up(daemon, "asker", "before")
    daemon.docker("rename", "before", "after")
    assert looks_up(daemon, "asker", "after")
    assert not looks_up(daemon, "asker", "before")
    assert looks_up(daemon, "asker", "alias")
    names = daemon.docker("inspect", "-f", "{{json .NetworkSettings.Networks.names.DNSNames}}",
                          "after")  # fmt: skip
    assert json.loads(names)[0] == "after"
    daemon.restart()
    assert looks_up(daemon, "asker", "after")
    daemon.remove_all()
    daemon.docker("network", "rm", "names")


def test_who_joins_a_container_asks_the_same_dns(daemon: Daemon) -> None:
    daemon.docker("network", "create", "names")
    sleeping(daemon, "first", "--network", "names")
    sleeping(daemon, "second", "--network", "container:first")
    sleeping(daemon, "third", "--network", "container:second")
    sleeping(daemon, "other", "--network", "names")
    for asker in ("second", "third"):
        assert "127.0.0.11" in daemon.docker("exec", asker, "cat", "/etc/resolv.conf")
        assert looks_up(daemon, asker, "other")
        hosts = daemon.docker("exec", asker, "cat", "/etc/hosts")
        assert hosts == daemon.docker("exec", "first", "cat", "/etc/hosts")
    daemon.remove_all()
    daemon.docker("network", "rm", "names")


def address(daemon: Daemon, name: str) -> str:
    return daemon.docker(
        "inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name
    ).strip()


def test_a_link_is_a_name_and_variables(daemon: Daemon) -> None:
    sleeping(daemon, "web", "--expose", "80", "-e", "COLOR=blue", "--hostname", "webhost")
    sleeping(daemon, "user", "--link", "web:my-db")
    ip = address(daemon, "web")
    assert f"{ip}\tmy-db webhost web\n" in daemon.docker("exec", "user", "cat", "/etc/hosts")
    shown = daemon.docker("inspect", "-f", "{{range .Config.Env}}{{.}} {{end}}", "user")
    assert "MY_DB" not in shown
    told = daemon.docker("exec", "user", "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ").split()
    assert {
        f"MY_DB_PORT=tcp://{ip}:80", f"MY_DB_PORT_80_TCP_ADDR={ip}", "MY_DB_NAME=/user/my-db",
        "MY_DB_ENV_COLOR=blue",
    } <= set(told)  # fmt: skip
    links = daemon.docker("inspect", "-f", "{{json .HostConfig.Links}}", "user")
    assert json.loads(links) == ["/web:/user/my-db"]


def test_a_link_follows_its_container(daemon: Daemon) -> None:
    sleeping(daemon, "web")
    sleeping(daemon, "user", "--link", "web:db")

    def said() -> str:
        hosts = daemon.docker("exec", "user", "cat", "/etc/hosts")
        found = re.search(r"(\S+)\tdb ", hosts)
        return found[1] if found else ""

    before = said()
    daemon.docker("rename", "web", "server")
    assert "server" in daemon.docker("exec", "user", "cat", "/etc/hosts")
    daemon.docker("stop", "-t", "0", "server")
    sleeping(daemon, "taker")  # may get its address
    daemon.docker("start", "server")
    assert address(daemon, "server") != before
    wait_until(lambda: said() == address(daemon, "server"), "the new address is known")
    daemon.docker("stop", "-t", "0", "server", "user")
    refused = daemon.docker("start", "user", status=1)
    assert "Cannot link to a non running container: /server AS /user/db" in refused
    daemon.docker("start", "server", "user")
    daemon.docker("rm", "--link", "user/db")
    assert said() == ""
    daemon.docker("restart", "-t", "0", "user")
    assert said() == ""
    refused = daemon.docker("rm", "--link", "server", status=1)
    assert "cannot remove the default link name" in refused


def test_links_that_cannot_be(daemon: Daemon) -> None:
    for options, words in (
        (("--link", "nobody"), "could not get container for nobody"),
        (("--link", "web", "--network", "host"), "links"),
    ):
        if "web" in options:
            sleeping(daemon, "web")
        done = daemon.run(["docker", "create", *options, "busybox"])  # clients check some of it
        assert done.returncode
        assert words in done.stderr.decode()


def test_a_link_on_a_network_follows_its_container(daemon: Daemon) -> None:
    """And a new container of the old name comes first: compose replaces one that way."""
    daemon.docker("network", "create", "names")
    sleeping(daemon, "database", "--network", "names")
    sleeping(daemon, "asker", "--network", "names", "--link", "database:db")
    first = ip(daemon, "database")
    assert found(daemon, "asker", "db") == first
    daemon.docker("rename", "database", "aside")
    assert found(daemon, "asker", "db") == first
    daemon.restart()
    daemon.docker("restart", "-t", "0", "asker")
    assert found(daemon, "asker", "db") == first
    sleeping(daemon, "database", "--network", "names")
    assert found(daemon, "asker", "db") == ip(daemon, "database") != first
    daemon.remove_all()
    daemon.docker("network", "rm", "names")


def ip(daemon: Daemon, name: str) -> str:
    return daemon.docker(
        "inspect", "-f", "{{.NetworkSettings.Networks.names.IPAddress}}", name
    ).strip()


def found(daemon: Daemon, asker: str, name: str) -> str:
    said = daemon.docker("exec", asker, "nslookup", "-type=a", name, "127.0.0.11")
    return said.split("Address")[-1].split()[-1]
