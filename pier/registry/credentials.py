"""Who we say we are to a registry, and which host a secret belongs to."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
_HUB_NAMES = frozenset({HUB, HUB_HOST, "index.docker.io", "registry.hub.docker.com"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """A secret for one registry. Empty: anonymous. Never printed."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token."""
    registry_token: str = field(default="", repr=False)
    """A bearer token to be sent as it is."""

    @property
    def anonymous(self) -> bool:
        return not (self.username or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """The value of an Authorization header; "" without a password."""
        if not self.username:
            return ""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


ANONYMOUS = Credentials()


class Auth(Protocol):
    """Credentials as the API hands them over."""

    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def identity_token(self) -> str: ...
    @property
    def registry_token(self) -> str: ...


def credentials_for(registry: str, auth: Auth | None) -> Credentials:
    """`auth` for use with `registry`; anonymous if it names another one: secrets stay at home."""
    if auth is None or (auth.server and registry_host(auth.server) != registry):
        return ANONYMOUS
    return Credentials(auth.username, auth.password, auth.identity_token, auth.registry_token)


class _AuthConfig(msgspec.Struct):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
    serveraddress: str = ""


def parse_auth_header(text: str) -> Credentials:
    """Read X-Registry-Auth (base64url of JSON). Docker takes an unreadable one as anonymous."""
    try:
        padded = text + "=" * (-len(text) % 4)
        data = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
        config = msgspec.json.decode(data, type=_AuthConfig)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        return ANONYMOUS
    username, password = config.username, config.password
    if config.auth and not username:
        username, password = parse_basic(config.auth)
    return Credentials(username, password, config.identitytoken, config.registrytoken)


def parse_basic(text: str) -> tuple[str, str]:
    """Read the base64 of `user:password`; two empty strings for anything else."""
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (ValueError, binascii.Error):
        return "", ""
    username, colon, password = decoded.rstrip("\0").partition(":")
    return (username, password) if colon else ("", "")


def registry_host(address: str) -> str:
    """The registry a server address means: `https://index.docker.io/v1/` is docker.io."""
    rest = address.partition("://")[2] or address
    host = rest.partition("/")[0].lower()
    return HUB if host in _HUB_NAMES or not host else host
