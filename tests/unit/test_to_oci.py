"""A spec becomes a config.json: the parts a reader would look for, one at a time."""

from dataclasses import replace
from typing import Any

import pytest

from pier.containers.capabilities import KERNEL
from pier.containers.devices import DeviceNode
from pier.containers.facts import HostFacts
from pier.containers.model import MountPoint
from pier.containers.namespaces import HOST, Namespaces
from pier.containers.oci_mounts import MountInputs, merge_tmpfs_options, mounts_to_oci
from pier.containers.spec import ContainerSpec, HostSpec, Resources, Ulimit
from pier.containers.sysctls import SysctlRefused
from pier.containers.to_oci import OciInputs, ProcessUser, environment, to_oci
from pier.containers.validate import validate
from pier.errors import InvalidArgument, PierError

FACTS = HostFacts(capabilities=KERNEL, cpus=2)
SPEC = ContainerSpec(entrypoint=("/entry",), cmd=("a",))


def config(host: HostSpec | None = None, spec: ContainerSpec = SPEC, **inputs: Any) -> Any:
    """Any: tests look into the JSON."""
    asked = replace(spec, host=host or HostSpec())
    given = {"container_id": "f" * 64, "facts": FACTS, "hostname": "h", **inputs}
    return to_oci(OciInputs(spec=asked, **given))


def mount(config: Any, path: str) -> Any:
    return next((mount for mount in config["mounts"] if mount["destination"] == path), None)


def test_the_command_line_is_entrypoint_and_cmd_and_an_init_if_wanted() -> None:
    assert config()["process"]["args"] == ["/entry", "a"]
    with_init = config(init="/usr/libexec/tini")
    assert with_init["process"]["args"] == ["/sbin/docker-init", "--", "/entry", "a"]
    init = mount(with_init, "/sbin/docker-init")
    assert init["source"] == "/usr/libexec/tini"
    assert "rro" not in init["options"]
    joined = config(init="/usr/libexec/tini", namespaces=Namespaces(pid=HOST))
    assert joined["process"]["args"] == ["/entry", "a"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ((), ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=h",
              "TERM=xterm", "HOME=/root"]),
        (("B=1", "PATH=/x", "A=2"), ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "B=1", "A=2",
                                     "HOME=/root"]),
        (("TERM", "PATH", "HOME=/h"), ["HOSTNAME=h", "HOME=/h"]),
        (("HOME", "A=", "A"), ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          "HOSTNAME=h", "TERM=xterm", "A=", "HOME=/root"]),
    ],
)  # fmt: skip
def test_the_environment(env: tuple[str, ...], expected: list[str]) -> None:
    assert environment(env, hostname="h", tty=True, home="/root") == expected


def test_an_exec_removes_what_the_container_has() -> None:
    made = environment(("A=1", "B=2"), added=("A", "C=3"), hostname="h", tty=False, home="/")
    assert made[2:] == ["B=2", "C=3", "HOME=/"]


def test_no_capability_is_inheritable_or_ambient() -> None:
    held = config()["process"]["capabilities"]
    assert set(held) == {"bounding", "effective", "permitted"}
    assert "CAP_SYS_ADMIN" not in held["bounding"]
    assert "CAP_NET_RAW" in held["bounding"]


def test_a_privileged_container_is_not_fenced() -> None:
    made = config(HostSpec(privileged=True))
    assert made["process"]["capabilities"]["bounding"] == list(KERNEL)
    assert made["linux"]["maskedPaths"] == made["linux"]["readonlyPaths"] == []
    assert "rw" in mount(made, "/sys")["options"]
    assert "rw" in mount(made, "/sys/fs/cgroup")["options"]
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_namespaces_are_new_joined_or_the_hosts() -> None:
    made = config(namespaces=Namespaces(network="/proc/9/ns/net", pid=HOST))
    entries = {entry["type"]: entry.get("path") for entry in made["linux"]["namespaces"]}
    assert entries == {
        "mount": None, "network": "/proc/9/ns/net", "ipc": None, "uts": None, "cgroup": None,
    }  # fmt: skip
    assert "hostname" not in config(namespaces=Namespaces(uts=HOST))


def test_a_user_mount_takes_the_place_of_a_default_one() -> None:
    point = MountPoint(kind="bind", destination="/dev", source="/dev")
    made = config(mounts=(point,), files={"/etc/hosts": "/x/hosts"})
    assert mount(made, "/dev")["type"] == "bind"
    assert mount(made, "/dev/pts") is None
    assert mount(made, "/etc/hosts")["source"] == "/x/hosts"


def test_a_user_mount_over_etc_hosts_wins() -> None:
    point = MountPoint(kind="bind", destination="/etc/hosts", source="/mine")
    made = config(mounts=(point,), files={"/etc/hosts": "/x/hosts"})
    assert mount(made, "/etc/hosts")["source"] == "/mine"


def test_mounts_come_parents_first() -> None:
    points = [
        MountPoint(kind="bind", destination=path, source="/s") for path in ("/a/b", "/a", "/a-b")
    ]
    made = mounts_to_oci(MountInputs(points=points))
    assert [entry["destination"] for entry in made[-3:]] == ["/a", "/a/b", "/a-b"]


def test_a_read_only_root_leaves_what_programs_need_writable() -> None:
    point = MountPoint(kind="volume", destination="/data", source="/v")
    made = config(HostSpec(readonly_rootfs=True), mounts=(point,), files={"/etc/hosts": "/h"})
    assert made["root"]["readonly"]
    for path in ("/dev", "/dev/shm", "/data"):
        assert "ro" not in mount(made, path)["options"]
    for path in ("/sys", "/etc/hosts"):
        assert "ro" in mount(made, path)["options"]


def test_read_only_binds_are_recursively_so() -> None:
    point = MountPoint(kind="bind", destination="/d", source="/s", writable=False)
    assert mount(config(mounts=(point,)), "/d")["options"] == ["rbind", "rprivate", "ro", "rro"]
    top = replace(point, readonly_non_recursive=True, non_recursive=True, propagation="rshared")
    made = config(mounts=(top,))
    assert mount(made, "/d")["options"] == ["bind", "shared", "ro"]
    assert made["linux"]["rootfsPropagation"] == "shared"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", "noexec,nosuid,nodev"),
        ("size=64m,mode=1777", "noexec,nosuid,nodev,size=64m,mode=1777"),
        ("exec,rw", "nosuid,nodev,exec,rw"),
        ("exec,noexec", "nosuid,nodev,noexec"),
        ("ro,size=1k,rw", "noexec,nosuid,nodev,size=1k,rw"),
    ],
)
def test_tmpfs_options(asked: str, expected: str) -> None:
    assert ",".join(merge_tmpfs_options(asked)) == expected


@pytest.mark.parametrize(
    ("shm", "expected"),
    [("", ("tmpfs", "shm")), ("/host", ("bind", "/host")), (None, None)],
)
def test_shared_memory(shm: str | None, expected: tuple[str, str] | None) -> None:
    found = mount(config(HostSpec(shm_size=4096), shm=shm), "/dev/shm")
    assert (found and (found["type"], found["source"])) == expected
    assert shm != "" or "size=4096" in found["options"]


def test_devices_are_made_and_allowed() -> None:
    node = DeviceNode(path="/dev/fuse", kind="c", major=10, minor=229, permissions="rw")
    host = HostSpec(resources=Resources(device_cgroup_rules=("c 7:* rmw",)))
    linux = config(host, devices=(node,))["linux"]
    assert linux["devices"][0]["path"] == "/dev/fuse"
    rules = linux["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-2:] == [
        {"allow": True, "type": "c", "access": "rw", "major": 10, "minor": 229},
        {"allow": True, "type": "c", "access": "rmw", "major": 7},
    ]


def test_the_rest_of_the_process() -> None:
    host = HostSpec(
        security_opt=("no-new-privileges",), oom_score_adj=-5, console_size=(24, 80),
        resources=Resources(ulimits=(Ulimit(name="nofile", soft=1, hard=2),)),
    )  # fmt: skip
    spec = replace(SPEC, tty=True, working_dir="/w")
    user = ProcessUser(uid=1, gid=2, additional_gids=(3,), home="/home/u")
    process = config(host, spec, user=user)["process"]
    assert process["user"] == {"uid": 1, "gid": 2, "additionalGids": [2, 3]}
    assert process["cwd"] == "/w"
    assert process["noNewPrivileges"] is True
    assert process["oomScoreAdj"] == -5
    assert process["consoleSize"] == {"height": 24, "width": 80}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert "apparmorProfile" not in process


def test_network_sysctls_are_only_set_in_a_network_of_its_own() -> None:
    assert config()["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert config(namespaces=Namespaces(network=HOST))["linux"]["sysctl"] == {}


def test_seccomp_is_there_unless_unconfined() -> None:
    assert "seccomp" not in config()["linux"]
    assert config(seccomp={"defaultAction": "SCMP_ACT_ERRNO"})["linux"]["seccomp"]


@pytest.mark.parametrize(
    "host",
    [
        HostSpec(ipc_mode="mine"),
        HostSpec(pid_mode="container:"),
        HostSpec(uts_mode="private"),
        HostSpec(shm_size=-1),
        HostSpec(oom_score_adj=1001),
        HostSpec(sysctls={"kernel.panic": "1"}),
        HostSpec(sysctls={"net.x": "1"}, network_mode="host"),
        HostSpec(annotations={"": "x"}),
        HostSpec(cap_drop=("wings",)),
        HostSpec(dns_search=("a\nnameserver 1.2.3.4",)),
        HostSpec(dns_options=("ndots:1\n",)),
        HostSpec(resources=Resources(cgroup_parent="../..")),
        HostSpec(resources=Resources(cgroup_parent="/pier/\n")),
    ],
)
def test_an_impossible_container_is_refused(host: HostSpec) -> None:
    with pytest.raises(InvalidArgument):
        validate(ContainerSpec(host=host), FACTS)


@pytest.mark.parametrize("word", ["a\n1.2.3.4 bank", "a b", "\t"])
def test_a_name_is_one_word(word: str) -> None:
    for spec in (ContainerSpec(hostname=word), ContainerSpec(domainname=word)):
        with pytest.raises(InvalidArgument):
            validate(spec, FACTS)


def test_sizes_of_disks_are_not_supported_here() -> None:
    with pytest.raises(PierError, match="only for overlay over xfs"):
        validate(ContainerSpec(host=HostSpec(storage_options={"size": "1G"})), FACTS)


def test_sysctls_are_refused_in_the_runtimes_words() -> None:
    with pytest.raises(SysctlRefused) as refused:
        validate(ContainerSpec(host=HostSpec(sysctls={"kernel.panic": "1"})), FACTS)
    assert str(refused.value) == 'sysctl "kernel.panic" is not in a separate kernel namespace'


def test_an_ordinary_container_raises_no_warning() -> None:
    host = HostSpec(
        resources=Resources(memory_swappiness=-1, oom_kill_disable=False, pids_limit=0),
        sysctls={"net.core.somaxconn": "1", "kernel.shmmax": "1"},
    )
    assert validate(replace(SPEC, host=host), FACTS) == []


def test_the_default_apparmor_profile_is_used_where_it_is_loaded() -> None:
    def profile(facts: HostFacts, host: HostSpec | None = None) -> str | None:
        made = config(host, facts=facts, apparmor_default="docker-default")
        found: str | None = made["process"].get("apparmorProfile")
        return found

    loaded = replace(FACTS, apparmor=True, apparmor_profiles=frozenset({"docker-default"}))
    assert profile(FACTS) is None
    assert profile(replace(FACTS, apparmor=True)) is None
    assert profile(loaded) == "docker-default"
    assert profile(loaded, HostSpec(privileged=True)) is None
    assert profile(loaded, HostSpec(security_opt=("apparmor=unconfined",))) is None
    assert profile(loaded, HostSpec(security_opt=("apparmor=mine",))) == "mine"
