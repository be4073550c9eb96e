"""A spec survives being stored: every field comes back as it was."""

import msgspec

from pier.containers.model import Health, MountPoint, ProbeResult, Status
from pier.containers.spec import (
    ContainerSpec,
    EndpointSpec,
    Healthcheck,
    HostSpec,
    MountRequest,
    PortBinding,
    Resources,
    Ulimit,
)

SPEC = ContainerSpec(
    image="busybox",
    cmd=("echo", "ä"),
    entrypoint=None,
    labels={"a": "b"},
    healthcheck=Healthcheck(test=("CMD", "true"), retries=2),
    stop_timeout_s=0,
    host=HostSpec(
        mounts=(MountRequest(kind="bind", source="/a", target="/b", tmpfs_options=(("exec",),)),),
        port_bindings=(PortBinding(port=80, host_port="8000-8010"),),
        masked_paths=(),
        resources=Resources(memory=1 << 40, ulimits=(Ulimit(name="nofile", soft=1, hard=-1),)),
    ),
    endpoints={"bridge": EndpointSpec(aliases=("x",))},
)


def test_a_spec_comes_back_as_it_was() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SPEC), type=ContainerSpec) == SPEC


def test_none_and_empty_are_kept_apart() -> None:
    back = msgspec.json.decode(msgspec.json.encode(SPEC), type=ContainerSpec)
    assert back.host.masked_paths == ()
    assert back.host.readonly_paths is None
    assert back.stop_timeout_s == 0


def test_a_spec_of_an_older_version_gets_the_defaults() -> None:
    assert msgspec.json.decode(b'{"image":"a"}', type=ContainerSpec) == ContainerSpec(image="a")


def test_a_status_comes_back_as_it_was() -> None:
    probe = ProbeResult(started_ns=1, ended_ns=2, exit_code=-1, output="x")
    status = Status(pid=3, health=Health(status="healthy", log=(probe,)))
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
    mount = MountPoint(kind="volume", destination="/a", name="v")
    assert msgspec.json.decode(msgspec.json.encode(mount), type=MountPoint) == mount
