"""Credentials as clients send them: base64 JSON in a header. What cannot be read is anonymous."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from pier.api.requests import RegistryAuth
from pier.api.schema.decode import decode_body
from pier.errors import InvalidArgument


class AuthConfig(msgspec.Struct, rename="lower", kw_only=True):
    GO_TYPE: ClassVar[str] = "registry.AuthConfig"
    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


def to_auth(config: AuthConfig) -> RegistryAuth:
    """`auth` is "user:password" in base64, for clients that send nothing else."""
    username, password = config.username, config.password
    if config.auth and not username:
        username, _, password = _decoded(config.auth).decode("utf-8", "replace").partition(":")
    return RegistryAuth(
        username=username,
        password=password,
        server=config.serveraddress,
        identity_token=config.identitytoken,
        registry_token=config.registrytoken,
    )


def _decoded(text: str) -> bytes:
    """base64 in either alphabet, with padding or without; b"" for anything else."""
    text = text.strip().replace("+", "-").replace("/", "_").rstrip("=")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def registry_auth(headers: Mapping[str, str]) -> RegistryAuth | None:
    """X-Registry-Auth; None for anonymous."""
    data = _decoded(headers.get("X-Registry-Auth", ""))
    if not data:
        return None
    try:
        auth = to_auth(decode_body(data, AuthConfig))
    except InvalidArgument:
        return None
    known = auth.username or auth.identity_token or auth.registry_token
    return auth if known else None


def registry_auths(headers: Mapping[str, str]) -> dict[str, RegistryAuth]:
    """X-Registry-Config of a build: what the client has for every registry it knows."""
    data = _decoded(headers.get("X-Registry-Config", ""))
    try:
        configs = decode_body(data, dict[str, AuthConfig]) if data else {}
    except InvalidArgument:
        return {}
    return {registry: to_auth(config) for registry, config in configs.items()}


class InvalidSecrets(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("X-Pier-Build-Secrets is not base64 of a JSON object of base64 values")


def build_secrets(headers: Mapping[str, str]) -> dict[str, bytes]:
    """X-Pier-Build-Secrets: for `RUN --mount=type=secret`, by ID. Raises InvalidSecrets.

    A header, because a query ends up in logs and a context on the disk.
    """
    text = headers.get("X-Pier-Build-Secrets", "")
    if not text:
        return {}
    try:
        return msgspec.json.decode(_decoded(text), type=dict[str, bytes])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidSecrets from None
