"""docker login and pier login against real registries: passwords, tokens, helpers, logout."""

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.registries import Site, debian_registry, pier_registry, skopeo
from tests.clients.registry_accounts import TokenServer, htpasswd
from tests.daemon import Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
LOGIN = ("login", "-u", "ann", "--password-stdin")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config.json of this test's clients; not there yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def client(daemon: Daemon, name: str) -> Callable[..., str]:
    return daemon.docker if name == "docker" else daemon.pier


def auths(config: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(config.read_text()).get("auths", {})
    return found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Registries with a password, by whose they are."""
    root = tmp_path_factory.mktemp("guarded")
    file = htpasswd(root)
    auth = f"auth: {{htpasswd: {{realm: r, path: {file}}}}}\n"
    with (
        pier_registry(root / "ours", "--htpasswd", str(file)) as ours,
        debian_registry(root / "debian", auth) as debian,
    ):
        yield {"ours": ours, "debian": debian}


@pytest.mark.parametrize("name", ["docker", "pier"])
@pytest.mark.parametrize("whose", ["ours", "debian"])
def test_a_password_opens_a_registry_until_logout(
    daemon: Daemon, guarded: dict[str, str], config: Path, name: str, whose: str
) -> None:
    call, host = client(daemon, name), guarded[whose]
    image = f"{host}/{name}/box:1"
    daemon.docker("tag", "busybox", image)
    refused = call(*LOGIN, host, stdin=b"wrong\n", status=1)
    words = f"login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"
    assert f"Error response from daemon: {words}" in refused
    assert not config.exists() or not auths(config)
    assert "no basic auth credentials" in call("push", image, status=1)
    assert "Login Succeeded" in call(*LOGIN, host, stdin=b"secret\n")
    expected = base64.b64encode(b"ann:secret").decode()
    assert auths(config) == {host: {"auth": expected}}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "digest: sha256:" in call("push", image)
    daemon.docker("rmi", image)
    for both in ("docker", "pier"):  # they share the file
        client(daemon, both)("pull", "-q", image)
    assert f"Removing login credentials for {host}" in call("logout", host)
    assert auths(config) == {}
    assert "pull access denied" in call("pull", image, status=1)
    assert "repository does not exist or may require 'docker login'" in call(
        "pull", image, status=1
    )


@pytest.fixture(scope="module")
def tokens() -> TokenServer:
    return TokenServer()


@pytest.fixture(scope="module")
def token_registry(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("tokens")
    bundle = root / "bundle.pem"
    bundle.write_bytes(tokens.bundle)
    with Site(tokens.respond) as site:
        auth = (
            f"auth: {{token: {{realm: 'http://{site.host}/token', service: service, "
            f"issuer: issuer, rootcertbundle: {bundle}}}}}\n"
        )
        with debian_registry(root / "debian", auth) as host:
            yield host


@pytest.mark.parametrize("name", ["docker", "pier"])
def test_a_token_server_gives_an_identity_that_is_kept_instead_of_the_password(
    daemon: Daemon, tokens: TokenServer, token_registry: str, config: Path, name: str
) -> None:
    call, image = client(daemon, name), f"{token_registry}/{name}/box:1"
    daemon.docker("tag", "busybox", image)
    refused = call(*LOGIN, token_registry, stdin=b"wrong\n", status=1)
    words = f'Get "http://{token_registry}/v2/": '
    assert f"Error response from daemon: {words}" in refused
    assert "incorrect username or password" in refused
    assert "Login Succeeded" in call(*LOGIN, token_registry, stdin=b"secret\n")
    kept = auths(config)[token_registry]
    assert kept["identitytoken"] == "refresh"
    assert base64.b64decode(kept["auth"]).decode().strip("\0") == "ann:"
    tokens.asked.clear()
    assert "digest: sha256:" in call("push", image)
    assert ("refresh_token", "refresh") in tokens.asked[0]
    assert ("scope", f"repository:{name}/box:pull,push") in [
        (key, value) for asked in tokens.asked for key, value in asked
    ]
    call("logout", token_registry)
    assert "unauthorized: authentication required" in call("push", image, status=1)


def test_the_environment_s_credentials_go_before_the_file_s(
    daemon: Daemon, guarded: dict[str, str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = guarded["ours"]
    image = f"{host}/environment:1"
    daemon.docker("tag", "busybox", image)
    auth = base64.b64encode(b"ann:secret").decode()
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: {"auth": auth}}}))
    assert "digest: sha256:" in daemon.pier("push", image)
    assert not config.exists()
    for broken in ("{", '{"a', '{"a":', "[1", "nonsense"):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", broken)
        assert "invalid DOCKER_AUTH_CONFIG" in daemon.pier("push", image, status=1)
    monkeypatch.delenv("DOCKER_AUTH_CONFIG")
    config.parent.mkdir()
    config.write_text('{"auths": {')
    assert "Error loading config file" in daemon.pier("push", image, status=1)


HELPER = """#!/usr/bin/python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_suffix(".json")
secrets = json.loads(kept.read_text()) if kept.exists() else {}
text = sys.stdin.read()
match sys.argv[1]:
    case "store":
        entry = json.loads(text)
        secrets[entry["ServerURL"]] = entry
    case "erase":
        secrets.pop(text.strip(), None)
    case "list":
        print(json.dumps({url: entry["Username"] for url, entry in secrets.items()}))
    case "get":
        if text.strip() not in secrets:
            sys.exit("credentials not found in native keychain" if print(
                "credentials not found in native keychain") else 1)
        print(json.dumps(secrets[text.strip()]))
kept.write_text(json.dumps(secrets))
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the credential helper `test` keeps its secrets."""
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.with_suffix(".json")


@pytest.mark.parametrize("name", ["docker", "pier"])
@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_secret(
    daemon: Daemon, guarded: dict[str, str], config: Path, helper: Path, name: str, kind: str
) -> None:
    call, host = client(daemon, name), guarded["ours"]
    image = f"{host}/helped/box:{name}"
    daemon.docker("tag", "busybox", image)
    config.parent.mkdir()
    config.write_text(json.dumps({kind: "test" if kind == "credsStore" else {host: "test"}}))
    told = call(*LOGIN, host, stdin=b"secret\n")
    assert "Login Succeeded" in told
    assert "unencrypted" not in told
    assert json.loads(helper.read_text())[host]["Secret"] == "secret"
    assert auths(config) == {host: {}}
    for both in ("docker", "pier"):
        assert "digest: sha256:" in client(daemon, both)("push", image)
    call("logout", host)
    assert json.loads(helper.read_text()) == {}
    assert auths(config) == {}
    assert "no basic auth credentials" in call("push", image, status=1)


@pytest.mark.parametrize("name", ["docker", "pier"])
def test_a_helper_s_token_is_an_identity(
    daemon: Daemon, token_registry: str, config: Path, helper: Path, name: str
) -> None:
    call = client(daemon, name)
    config.parent.mkdir()
    config.write_text(json.dumps({"credsStore": "test"}))
    assert "Login Succeeded" in call(*LOGIN, token_registry, stdin=b"secret\n")
    kept = json.loads(helper.read_text())[token_registry]
    assert (kept["Username"], kept["Secret"]) == ("<token>", "refresh")
    daemon.docker("tag", "busybox", f"{token_registry}/helped:{name}")
    for both in ("docker", "pier"):
        pushed = client(daemon, both)("push", f"{token_registry}/helped:{name}")
        assert "digest: sha256:" in pushed


def test_a_registry_that_anybody_may_read_wants_a_login_to_write(
    daemon: Daemon, config: Path, tmp_path: Path
) -> None:
    flags = ("--htpasswd", str(htpasswd(tmp_path)), "--anonymous-pull")
    with pier_registry(tmp_path / "open", *flags) as host:
        image = f"{host}/open/box:1"
        daemon.docker("tag", "busybox", image)
        refused = daemon.docker(*LOGIN, host, stdin=b"wrong\n", status=1)
        assert "incorrect username or password" in refused
        assert "unauthorized" in daemon.docker("push", image, status=1)
        daemon.docker(*LOGIN, host, stdin=b"secret\n")
        assert "digest: sha256:" in daemon.docker("push", image)
        daemon.docker("logout", host)
        daemon.docker("rmi", image)
        daemon.docker("pull", "-q", image)
        skopeo("inspect", f"docker://{image}")
        copy = ("copy", "--dest-creds", "ann:secret", f"docker://{image}")
        skopeo(*copy, f"docker://{host}/by/skopeo:1")
        daemon.docker("pull", "-q", f"{host}/by/skopeo:1")
