from pathlib import Path

import pytest

from pier.cli.values.attachments import FirstNetwork, join_networks, parse_network
from pier.cli.values.devices import is_cdi_name, parse_devices, parse_gpus
from pier.cli.values.mounts import parse_mount, parse_tmpfs, parse_volumes
from pier.cli.values.policies import (
    Capabilities,
    check_add_host,
    parse_restart,
    parse_ulimit,
    read_security,
)
from pier.cli.values.ports import parse_expose, parse_publish
from pier.cli.values.variables import check_env, proxy_variables, read_env, read_labels


def place(port: str, host: str = "") -> dict[str, str]:
    return {"HostIp": host, "HostPort": port}


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [place("")]}),
        ("8080:80", {"80/tcp": [place("8080")]}),
        ("127.0.0.1::80/udp", {"80/udp": [place("", "127.0.0.1")]}),
        ("[::1]:81:81", {"81/tcp": [place("81", "::1")]}),
        ("8000-8010:80", {"80/tcp": [place("8000-8010")]}),
        ("1-2:3-4/SCTP", {"3/sctp": [place("1")], "4/sctp": [place("2")]}),
        ("target=80,published=8080,protocol=udp", {"80/udp": [place("8080")]}),
    ],
)
def test_ports_are_published(spec: str, bindings: dict[str, list[dict[str, str]]]) -> None:
    assert parse_publish([spec]) == bindings


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a", "invalid containerPort: a"),
        ("70000:1", "invalid hostPort: 70000"),
        ("1:2/foo", "invalid proto: foo"),
        ("x:1:2", "invalid IP address: x"),
        ("1-3:4-5", "invalid ranges specified for container and host Ports: 4-5 and 1-3"),
        ("8080:", "no port specified: 8080:<empty>"),
    ],
)
def test_wrong_ports_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.") + "$"):
        parse_publish([spec])


def test_exposed_ranges_are_spelt_out() -> None:
    assert parse_expose(["80", "90-91/udp"]) == ["80/tcp", "90/udp", "91/udp"]


def test_volumes_are_binds_named_or_anonymous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    volumes = parse_volumes(["/a:/b", "name:/c:ro", "/d", "./x:/y"])
    assert volumes.binds == ["/a:/b", "name:/c:ro", f"{tmp_path}/x:/y"]
    assert volumes.anonymous == ["/d"]
    assert parse_tmpfs(["/t:size=1", "/u"]) == {"/t": "size=1", "/u": ""}


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        (
            "type=bind,src=/a,dst=/b,ro,bind-propagation=rshared",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rshared"},
            },
        ),
        (
            'type=tmpfs,"target=/a,b",tmpfs-size=1m,tmpfs-mode=1777',
            {
                "Type": "tmpfs",
                "Target": "/a,b",
                "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777},
            },
        ),
        (
            "source=v,target=/b,volume-opt=a=b=c,volume-nocopy",
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/b",
                "VolumeOptions": {"DriverConfig": {"Options": {"a": "b=c"}}, "NoCopy": True},
            },
        ),
    ],
)
def test_mounts_are_described(text: str, mount: dict[str, object]) -> None:
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    "text",
    ["", "x", "type=bind", "target=/a,foo=b", "type=bind,dst=/a,volume-nocopy", "dst=/a,ro=maybe"],
)
def test_wrong_mounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of the sentences
        parse_mount(text)


def test_networks_take_the_first_ones_flags() -> None:
    first = FirstNetwork()
    first.aliases, first.ip = ["x"], "10.0.0.2"
    assert join_networks(["a", "name=b,gw-priority=2"], first) == {
        "a": {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}},
        "b": {"GwPriority": 2},
    }


def test_a_single_plain_network_needs_no_endpoint() -> None:
    assert join_networks(["a"], FirstNetwork()) == {}
    assert join_networks([], FirstNetwork()) == {}


def test_networks_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="user-defined and non-user-defined"):
        join_networks(["host", "a"], FirstNetwork())
    with pytest.raises(ValueError, match="specified multiple times"):
        join_networks(["a", "a"], FirstNetwork())
    with pytest.raises(ValueError, match="invalid field key nope"):
        parse_network("nope=1")


def test_devices_have_a_place_and_a_mode() -> None:
    found = parse_devices(["/dev/a", "/dev/b:r", "/dev/c:/dev/d", "/dev/e:/dev/f:rw"])
    assert [(d["PathInContainer"], d["CgroupPermissions"]) for d in found] == [
        ("/dev/a", "rwm"),
        ("/dev/b", "r"),
        ("/dev/d", "rwm"),
        ("/dev/f", "rw"),
    ]
    assert is_cdi_name("vendor.com/class=gpu0")
    assert not is_cdi_name("/dev/x=y")


def test_gpus_are_asked_for() -> None:
    assert parse_gpus("all") == {"Count": -1, "Capabilities": [["gpu"]]}
    assert parse_gpus('"device=0,1",driver=nvidia') == {
        "DeviceIDs": ["0", "1"],
        "Driver": "nvidia",
        "Capabilities": [["gpu"]],
    }


def test_single_values() -> None:
    assert parse_ulimit("nofile=1:2") == {"Name": "nofile", "Soft": 1, "Hard": 2}
    assert parse_ulimit("core=-1") == {"Name": "core", "Soft": -1, "Hard": -1}
    assert parse_restart("on-failure:3") == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert check_add_host("a=[::1]") == "a:::1"
    assert check_add_host("a:host-gateway") == "a:host-gateway"
    both = Capabilities(["net_admin", "CAP_SYS_TIME"], ["ALL", "x"])
    assert both.add == ["CAP_NET_ADMIN", "CAP_SYS_TIME"]
    assert both.drop == ["ALL"]


def test_a_seccomp_profile_is_read_and_sent_along(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    security = read_security([f"seccomp={profile}", "systempaths=unconfined", "label:disable"])
    assert security.options == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "label:disable"]
    assert security.unmasked


def test_variables_come_from_files_flags_and_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    file = tmp_path / "env"
    file.write_text("# comment\nA=b c\n\nOURS\nABSENT\n  B=2\n")
    assert read_env([str(file)], ["C=3"]) == ["A=b c", "OURS=1", "B=2", "C=3"]
    assert check_env("OURS") == "OURS=1"
    assert read_labels([], ["a", "b=c=d"]) == {"a": "", "b": "c=d"}
    file.write_text("A B=c\n")
    with pytest.raises(ValueError, match="contains whitespaces"):
        read_env([str(file)], [])


def test_proxies_of_the_settings_become_variables() -> None:
    proxies = {"default": {"httpProxy": "http://p"}}
    assert proxy_variables(proxies, "unix:///x", ["http_proxy"]) == ["HTTP_PROXY=http://p"]
