"""Where the daemon is, and what ~/.docker says."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from pier.cli.address import DEFAULT_HOST, parse_host
from pier.cli.context_archive import pack, unpack
from pier.cli.contexts import context_endpoint, find_context, save_context
from pier.cli.credentials import all_auths, auth_header, erase_auth, find_auth, store_auth
from pier.cli.endpoint import GlobalFlags, find_endpoint
from pier.cli.faults import Fault
from pier.cli.references import INDEX, Name, familiar
from pier.cli.settings_file import SettingsFile

VARIABLES = ("PIER_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsFile:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return SettingsFile(str(tmp_path))


def test_without_a_choice_pier_itself_is_asked(settings: SettingsFile) -> None:
    assert find_endpoint(GlobalFlags(), settings).address == DEFAULT_HOST


def test_flag_then_piers_variable_then_dockers_then_the_context(
    settings: SettingsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = {"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:1"}}}
    save_context(settings.directory, meta, {})
    settings.values["currentContext"] = "far"
    assert find_endpoint(GlobalFlags(), settings).address == "tcp://far:1"
    monkeypatch.setenv("DOCKER_HOST", "unix:///docker")
    assert find_endpoint(GlobalFlags(), settings).address == "unix:///docker"
    monkeypatch.setenv("PIER_HOST", "unix:///pier")
    assert find_endpoint(GlobalFlags(), settings).address == "unix:///pier"
    flags = GlobalFlags()
    flags.context = "far"
    assert find_endpoint(flags, settings).address == "tcp://far:1"
    flags.host = "h"
    with pytest.raises(Fault, match="both --host and --context"):
        find_endpoint(flags, settings)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("unix:///a", "unix:///a"),
        ("tcp://h", "tcp://h:2375"),
        ("h:1", "tcp://h:1"),
        ("tcp://:1", "tcp://127.0.0.1:1"),
        ("ssh://u@h", "ssh://u@h"),
    ],
)
def test_hosts_are_completed(text: str, host: str) -> None:
    assert parse_host(text) == host


def test_a_context_travels_with_its_keys(settings: SettingsFile, tmp_path: Path) -> None:
    meta = {"Name": "a1", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://h:2376"}}}
    save_context(settings.directory, meta, {"ca": b"C", "cert": b"D", "key": b"K"})
    unpack(settings.directory, "b2", pack(settings.directory, "a1"))
    found = find_context(settings.directory, "b2")
    assert found is not None
    assert found["Name"] == "b2"
    endpoint = context_endpoint(settings.directory, "b2")
    assert endpoint.tls is not None
    with open(endpoint.tls.key, "rb") as file:
        assert file.read() == b"K"
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_credentials_are_kept_where_only_we_can_read_them(settings: SettingsFile) -> None:
    settings.values["other"] = {"kept": 1}
    auth = {"username": "u", "password": "p:w", "serveraddress": "reg.test"}
    assert store_auth(settings, "reg.test", auth) == ""
    mode = os.stat(settings.path).st_mode
    assert stat.S_IMODE(mode) == 0o600
    again = SettingsFile(settings.directory)
    assert again.values["other"] == {"kept": 1}
    assert find_auth(again, "reg.test") == auth
    assert all_auths(again) == {"reg.test": auth}
    header = auth_header(again, "reg.test/a/b:1")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == auth
    assert erase_auth(again, "reg.test")
    assert find_auth(SettingsFile(settings.directory), "reg.test") is None


def test_a_helper_is_asked_and_told(
    settings: SettingsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text(
        "#!/bin/sh\ncat > $0.$1\n"
        'test "$1" = get && echo \'{"Username":"<token>","Secret":"t"}\'; exit 0\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    settings.values["credHelpers"] = {"reg.test": "mine"}
    assert find_auth(settings, "reg.test") == {"identitytoken": "t", "serveraddress": "reg.test"}
    store_auth(settings, "reg.test", {"username": "u", "password": "p"})
    stored = json.loads((tmp_path / "docker-credential-mine.store").read_text())
    assert stored == {"ServerURL": "reg.test", "Username": "u", "Secret": "p"}
    assert "auth" not in json.loads((tmp_path / "config.json").read_text())["auths"]["reg.test"]


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Fault, match="Error loading config file"):
        SettingsFile(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "full", "short", "server"),
    [
        ("busybox", "docker.io/library/busybox", "busybox:latest", INDEX),
        ("a/b:1", "docker.io/a/b", "a/b:1", INDEX),
        ("localhost/x", "localhost/x", "localhost/x:latest", "localhost"),
        ("reg.test:5000/x:2", "reg.test:5000/x", "reg.test:5000/x:2", "reg.test:5000"),
        ("docker.io/library/x@sha256:ab", "docker.io/library/x", "x@sha256:ab", INDEX),
    ],
)
def test_names_of_images(text: str, full: str, short: str, server: str) -> None:
    assert Name(text).full == full
    assert familiar(text) == short
    assert Name(text).server == server


def test_names_are_lower_case() -> None:
    with pytest.raises(ValueError, match="must be lowercase"):
        Name("Foo")
