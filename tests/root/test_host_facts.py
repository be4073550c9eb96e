"""What this machine can do, read from it."""

import os

import pytest

from pier.containers.host import NoSuchDevice, device_nodes, host_devices, read_host_facts
from pier.containers.spec import ContainerSpec, Device
from pier.containers.validate import validate


def test_facts_are_plausible() -> None:
    facts = read_host_facts()
    assert facts.cgroup_version in (1, 2)
    assert facts.cpus >= 1
    assert "CAP_CHOWN" in facts.capabilities
    assert facts.cpuset_cpus
    assert facts.hard_limits["nofile"] != 0
    assert validate(ContainerSpec(), facts) == []


def test_a_device_is_looked_up_and_links_are_followed() -> None:
    (node,) = device_nodes([Device(path_on_host="/dev/null", path_in_container="/dev/n")])
    assert (node.path, node.kind, node.major, node.minor) == ("/dev/n", "c", 1, 3)


@pytest.mark.parametrize("path", ["/dev/no-such-thing", "/etc/passwd"])
def test_what_is_no_device_is_refused(path: str) -> None:
    with pytest.raises(NoSuchDevice, match=f'adding custom device "{path}"'):
        device_nodes([Device(path_on_host=path)])


def test_a_privileged_container_sees_the_hosts_devices_but_not_its_terminals() -> None:
    paths = [node.path for node in host_devices()]
    assert "/dev/null" in paths
    assert not [path for path in paths if path.startswith("/dev/pts/")]
    assert all(os.path.lexists(path) for path in paths)
