"""Who we are to registries: config.json's `auths`, or a `docker-credential-*` helper.

Docker CLI reference, `docker login`, "Credential stores". A helper reads from stdin and answers
JSON on stdout. The user name `<token>` says that the secret is an identity token. What the variable
DOCKER_AUTH_CONFIG holds goes before both.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode, urlsafe_b64encode

from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json, parse_json
from pier.cli.references import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.settings_file import SettingsFile

    Auth = dict[str, str]  # username password identitytoken serveraddress

_HELPER_TIMEOUT_S = 120
_NOT_FOUND = "credentials not found"


def encode_auth(auth: Auth | dict[str, Auth]) -> str:
    """Return the value of X-Registry-Auth or X-Registry-Config."""
    return urlsafe_b64encode(format_json(auth).encode()).decode("ascii")


def auth_header(settings: SettingsFile, image: str) -> dict[str, str]:
    """Return the header with what we know for the registry of `image`."""
    auth = find_auth(settings, Name(image).server)
    return {"X-Registry-Auth": encode_auth(auth or {})}


def find_auth(settings: SettingsFile, server: str) -> Auth | None:
    """Return the credentials for `server`, a key of `auths`: those of the environment first."""
    given = _from_environment(server)
    if given:
        return given
    helper = _helper(settings, server)
    if helper:
        return _ask_helper(helper, server)
    return _from_file(settings.table("auths"), server)


def all_auths(settings: SettingsFile) -> dict[str, Auth]:
    """Return everything we know, for builds, by server."""
    servers = [*settings.table("auths"), *settings.table("credHelpers")]
    store = settings.text("credsStore")
    if store:
        servers += list(_run_helper(store, "list", ""))
    found = ((server, find_auth(settings, server)) for server in dict.fromkeys(servers))
    return {server: auth for server, auth in found if auth}


def _helper(settings: SettingsFile, server: str) -> str:
    chosen = settings.table("credHelpers").get(_host(server)) or settings.text("credsStore")
    return chosen if isinstance(chosen, str) else ""


def _host(server: str) -> str:
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_environment(server: str) -> Auth | None:
    """DOCKER_AUTH_CONFIG holds `auths` as config.json does."""
    text = os.environ.get("DOCKER_AUTH_CONFIG", "")
    if not text:
        return None
    try:
        values = parse_json(text)
    except ValueError as error:
        raise Fault(f"invalid DOCKER_AUTH_CONFIG: {error}") from error
    auths = values.get("auths") if isinstance(values, dict) else None
    return _from_file(auths, server) if isinstance(auths, dict) else None


def _from_file(auths: Any, server: str) -> Auth | None:  # Any: JSON of a file
    entry = auths.get(server)
    if entry is None:
        entry = next((auths[key] for key in auths if _host(key) == _host(server)), None)
    if not isinstance(entry, dict):
        return None
    auth: Auth = {"serveraddress": server}
    for key in ("username", "password", "identitytoken", "registrytoken"):
        if isinstance(entry.get(key), str):
            auth[key] = entry[key]
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            pair = b64decode(entry["auth"]).decode()
        except ValueError as error:
            raise Fault(f"invalid auth configuration file: {server}") from error
        auth["username"], _, auth["password"] = pair.partition(":")
    return auth


def store_auth(settings: SettingsFile, server: str, auth: Auth) -> str:
    """Keep `auth` for `server`; return the helper that keeps it, '' for the file itself."""
    helper = _helper(settings, server)
    auths = dict(settings.table("auths"))
    if helper:
        secret = auth.get("identitytoken")
        user = "<token>" if secret else auth["username"]
        value = {"ServerURL": server, "Username": user, "Secret": secret or auth["password"]}
        _run_helper(helper, "store", format_json(value))
        auths[server] = {}
    else:
        pair = f"{auth['username']}:{auth.get('password', '')}"
        auths[server] = {"auth": b64encode(pair.encode()).decode("ascii")}
        if auth.get("identitytoken"):
            auths[server]["identitytoken"] = auth["identitytoken"]
    settings.values["auths"] = auths
    settings.save()
    return helper


def erase_auth(settings: SettingsFile, server: str) -> bool:
    """Forget `server`; return whether anything was known."""
    auths = dict(settings.table("auths"))
    known = [key for key in auths if _host(key) == _host(server)]
    helper = _helper(settings, server)
    if helper:
        _run_helper(helper, "erase", server)
    for key in known:
        del auths[key]
    settings.values["auths"] = auths
    if known:
        settings.save()
    return bool(known)


def _ask_helper(helper: str, server: str) -> Auth | None:
    answer = _run_helper(helper, "get", server)
    if not answer.get("Secret"):
        return None
    user, secret = str(answer.get("Username", "")), str(answer["Secret"])
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server}


def _run_helper(helper: str, verb: str, text: str) -> dict[str, Any]:
    import subprocess

    name = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: TID251 - this program has no event loop to block
            [name, verb],
            input=text,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        message = f'error getting credentials - err: exec: "{name}": executable file not found'
        raise Fault(f"{message} in $PATH") from error
    if done.returncode:
        if _NOT_FOUND in done.stdout:
            return {}
        message = f"err: exit status {done.returncode}, out: `{done.stdout.strip()}`"
        raise Fault(f"error getting credentials - {message}")
    answer = parse_json(done.stdout) if done.stdout.strip() else {}
    return answer if isinstance(answer, dict) else {}
