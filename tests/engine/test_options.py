"""Every option of a container works or is refused: none is taken and forgotten."""

from collections.abc import Iterator

import pytest

from tests.daemon import Daemon


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


@pytest.mark.parametrize(
    ("host", "status", "words"),
    [
        ({"StorageOpt": {"size": "1G"}}, 500, "--storage-opt is supported only for overlay over"),
        ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, 500,
         'could not select device driver "" with capabilities: [[gpu]]'),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a/b=c"]}]}, 500,
         'could not select device driver "cdi"'),
        ({"Isolation": "hyperv"}, 400, "invalid isolation (hyperv)"),
        ({"UsernsMode": "keep-id"}, 400, "invalid user namespace mode: keep-id"),
        ({"Cgroup": "container:x"}, 400, "invalid cgroup"),
        ({"Runtime": "kata"}, 400, "unknown or invalid runtime name: kata"),
        ({"DeviceCgroupRules": ["x"]}, 400, "invalid device cgroup rule format"),
        ({"LogConfig": {"Type": "syslog"}}, 0, "syslog"),
        ({"Binds": ["a-volume:/v"], "VolumeDriver": "nfs"}, 0, "nfs"),
        ({"SecurityOpt": ["nonsense=1"]}, 0, "nonsense"),
        ({"Sysctls": {"kernel.panic": "1"}}, 0, "kernel.panic"),
        ({"IpcMode": "container:nobody"}, 0, "nobody"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    daemon: Daemon, host: dict[str, object], status: int, words: str
) -> None:
    body = {"Image": "busybox", "HostConfig": host}
    got, answer = daemon.api("POST", "/v1.48/containers/create", body)
    assert words in answer["message"]
    assert got == (status or got)
    assert 400 <= got <= 500
    assert daemon.docker("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--stop-signal", "NONSENSE"), "invalid signal: NONSENSE"),
        (("--uts", "host", "--hostname", "me"), "conflicting options: hostname and the UTS mode"),
        (("--network", "container:other", "--hostname", "me"),
         "conflicting options: hostname and the network mode"),
        (("--network", "container:other", "--expose", "80"),
         "conflicting options: port exposing and the container type network mode"),
        (("--network", "container:other", "-p", "80"),
         "conflicting options: port publishing and the container type network mode"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    daemon: Daemon, options: tuple[str, ...], words: str
) -> None:
    daemon.docker("create", "--name", "other", "busybox")
    assert words in daemon.docker("create", *options, "busybox", status=1)


def test_link_local_addresses_are_refused(daemon: Daemon) -> None:
    daemon.docker("network", "create", "local")
    try:
        options = ("--network", "local", "--link-local-ip", "169.254.3.4")
        said = daemon.docker("run", *options, "busybox", "true", status=125)
        assert "link-local addresses of endpoints are not supported" in said
    finally:
        daemon.remove_all()
        daemon.docker("network", "rm", "local")


SYSCTLS = "driver-opt=com.docker.network.endpoint.sysctls"


def test_sysctls_of_an_endpoint(daemon: Daemon) -> None:
    daemon.docker("network", "create", "tuned")
    try:
        option = f'name=tuned,"{SYSCTLS}=net.ipv4.conf.IFNAME.log_martians=1"'
        path = "/proc/sys/net/ipv4/conf/eth0/log_martians"
        assert daemon.docker("run", "--rm", "--network", option, "busybox", "cat", path) == "1\n"
        for bad, status in (
            ("net.ipv4.conf.all.log_martians=1", 125),
            ("net.ipv4.conf.IFNAME.nothing=1", 127),
        ):
            option = f'name=tuned,"{SYSCTLS}={bad}"'
            said = daemon.docker("run", "--network", option, "busybox", "true", status=status)
            assert bad.partition("=")[0].rpartition(".")[2] in said
    finally:
        daemon.remove_all()
        daemon.docker("network", "rm", "tuned")


def test_a_sysctl_that_is_not_there_is_told(daemon: Daemon) -> None:
    """The client makes 127 of "no such file", as of a missing program: with Docker too."""
    said = daemon.docker("run", "--sysctl", "net.ipv4.nothing=1", "busybox", "true", status=127)
    assert "open /proc/sys/net/ipv4/nothing: no such file or directory" in said


def test_init_without_a_program_is_refused_at_create(daemon: Daemon) -> None:
    done = daemon.run(["docker", "create", "--init", "busybox"])
    if done.returncode:  # else the machine has one
        assert b"--init needs an init program and none was found" in done.stderr
        assert daemon.docker("ps", "-aq") == ""


def test_the_groups_of_a_user(daemon: Daemon) -> None:
    """The first is among the others: Docker's answer to CVE-2022-36109."""
    for options, groups in (((), "0 10"), (("--user", "5:6"), "6"), (("--user", "1000"), "0")):
        said = daemon.docker(
            "run", "--rm", *options, "busybox", "grep", "Groups", "/proc/self/status"
        )
        assert said.split(":")[1].split() == groups.split()


def test_a_read_only_container_has_read_only_files(daemon: Daemon) -> None:
    said = daemon.docker("run", "--rm", "--read-only", "busybox", "touch", "/etc/hosts", status=1)
    assert "Read-only file system" in said


def test_a_full_name_as_hostname_is_found_by_its_first_part_too(daemon: Daemon) -> None:
    hosts = daemon.docker("run", "--rm", "--hostname", "a.b.c", "busybox", "cat", "/etc/hosts")
    assert hosts.splitlines()[-1].split()[1:] == ["a.b.c", "a"]


def test_only_shareable_ipc_is_shared(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "other", "busybox", "sleep", "300")
    said = daemon.docker("run", "--ipc", "container:other", "busybox", "true", status=125)
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in said


def test_aliases_need_a_network_of_ones_own(daemon: Daemon) -> None:
    for network in ("host", "none", "bridge"):
        body = {
            "Image": "busybox",
            "Cmd": ["true"],
            "HostConfig": {"NetworkMode": network},
            "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": ["x"]}}},
        }
        status, answer = daemon.api("POST", "/v1.48/containers/create", body)
        if status == 201:
            status, answer = daemon.api("POST", f"/v1.48/containers/{answer['Id']}/start")
        assert status == 400
        assert "network-scoped aliases are only supported" in answer["message"]


def test_an_exec_has_the_containers_limits(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "bound", "--ulimit", "nofile=100:200", "busybox",
                  "sleep", "300")  # fmt: skip
    for options in ((), ("-t",)):
        said = daemon.docker("exec", *options, "bound", "sh", "-c", "ulimit -n; ulimit -Hn")
        assert said.split() == ["100", "200"]


def test_execs_are_the_runtimes_where_somebody_may_look_into_them(daemon: Daemon) -> None:
    """Made without the runtime, an exec leads its session; by crun it does not."""
    leads = "read pid name state parent group session rest </proc/$$/stat; test $session = $$"
    # Where a dockerd has loaded its AppArmor profile every exec is the runtime's.
    crun = ("--runtime", "crun", "--security-opt", "apparmor=unconfined")
    daemon.docker("run", "-d", "--name", "seen", *crun, "busybox", "sleep", "300")
    daemon.docker("exec", "seen", "sh", "-c", leads)
    daemon.docker(
        "run", "-d", "--name", "eye", "--pid", "container:seen", "busybox", "sleep", "300"
    )
    for name in ("seen", "eye"):
        daemon.docker("exec", name, "sh", "-c", leads, status=1)
    daemon.docker("rm", "-f", "eye")
    daemon.docker("restart", "-t", "0", "seen")
    daemon.docker("exec", "seen", "sh", "-c", leads)
    daemon.docker("exec", "--privileged", "seen", "sh", "-c", leads, status=1)
    daemon.docker("exec", "seen", "sh", "-c", leads, status=1)
    daemon.docker("rm", "-f", "seen")
