"""pier.settings: defaults < daemon.json < flags; what is refused, and how it is said."""

import json
from pathlib import Path

import pytest

from pier.settings import InvalidSettings, Settings, load, parse_size


def file_with(tmp_path: Path, **keys: object) -> Path:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({name.replace("_", "-"): value for name, value in keys.items()}))
    return path


def test_defaults_are_piers_own() -> None:
    settings = Settings()
    assert settings.hosts == ["unix:///run/pier/pier.sock"]
    assert (settings.data_root, settings.bridge) == ("/var/lib/pier", "pier0")


def test_drop_in_takes_dockers_place_unless_told_otherwise(tmp_path: Path) -> None:
    config = file_with(tmp_path, group="staff")
    settings = load({}, config, drop_in=True)
    assert (settings.hosts, settings.bridge) == (["unix:///run/docker.sock"], "docker0")
    assert settings.group == "staff"


def test_the_file_speaks_where_the_flags_do_not(tmp_path: Path) -> None:
    config = file_with(tmp_path, bip="10.9.0.1/24", debug=True)
    settings = load({"mtu": 1400}, config)
    assert (settings.bip, settings.debug, settings.mtu) == ("10.9.0.1/24", True, 1400)


def test_proxies_are_told_as_variables(tmp_path: Path) -> None:
    config = file_with(tmp_path, proxies={"https-proxy": "http://p:1", "no-proxy": "local"})
    assert load({}, config).proxy_environment == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "local"}


@pytest.mark.parametrize(
    ("flags", "keys", "message"),
    [
        ({"debug": True}, {"debug": False}, "both as a flag and in the configuration file: debug"),
        ({}, {"nosuchkey": 1}, "nosuchkey"),
        ({}, {"mtu": "large"}, "mtu"),
        ({}, {"userns_remap": "default"}, "not supported by Pier: userns-remap"),
        ({}, {"iptables": False}, "not supported by Pier: this value of iptables"),
        ({}, {"default_gateway": "10.0.0.9"}, "this value of default-gateway"),
        ({}, {"storage_driver": "zfs"}, "not supported by Pier: this value of storage-driver"),
        ({}, {"default_ipc_mode": "host"}, 'IPC mode "host"'),
        ({}, {"default_shm_size": "much"}, "invalid size: 'much'"),
        ({"tlsverify": True}, {}, "tlsverify needs tlscacert"),
    ],
)
def test_refused(
    tmp_path: Path, flags: dict[str, object], keys: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        load(flags, file_with(tmp_path, **keys))
    assert message in str(refusal.value)


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no such configuration file"):
        load({}, tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_file_that_is_no_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=r"daemon\.json"):
        load({}, path)


def test_what_changes_nothing_is_named(tmp_path: Path) -> None:
    settings = load({}, file_with(tmp_path, live_restore=False, features={"buildkit": True}))
    assert settings.without_effect == ["live-restore", "features"]
    assert Settings().without_effect == []


def test_the_build_cache_has_a_limit(tmp_path: Path) -> None:
    config = file_with(tmp_path, builder={"gc": {"defaultKeepStorage": "5GB"}})
    assert load({}, config).build_cache_bytes == 5 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1g", 1 << 30), ("512kb", 512 << 10), ("7", 7), (7, 7), ("1.5k", 1536)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size
