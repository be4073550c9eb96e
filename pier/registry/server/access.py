"""Who may do what: everybody with a password everything, and where it is allowed anybody may read.

Clients learn how to authenticate from the 401 to `GET /v2/` alone. With a Basic challenge there
docker and podman would not read without a password, with none they would not send one later. So a
registry that anybody may read gives tokens (Distribution specification, token authentication),
also to who says no name: those are good for reading. Tokens are signed with a key of the process;
who comes with one from before a restart is told to get another.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from aiohttp import web

from pier.registry.protocol import Challenge, format_challenge, pull_scope, push_scope
from pier.registry.server import faults
from pier.registry.server.htpasswd import Htpasswd

TOKEN_PATH = "/token"  # noqa: S105 -- a path
SERVICE = "pier registry"
_LIFE_S = 300


class _Claims(msgspec.Struct):
    user: str
    """"" for anybody."""
    expires_s: float


class Access:
    """One per registry with passwords."""

    def __init__(self, htpasswd: Htpasswd, *, anonymous_pull: bool) -> None:
        self._htpasswd = htpasswd
        self.anonymous_pull = anonymous_pull
        self._key = secrets.token_bytes(32)

    async def check(self, request: web.Request, *, reading: bool) -> None:
        """Raise the fault UNAUTHORIZED unless this request is allowed."""
        authorization = request.headers.get("Authorization", "")
        asked_how = request.path.rstrip("/") == "/v2"
        if not authorization:
            if self.anonymous_pull and reading and not asked_how:
                return
            raise self._unauthorized(request, reading=reading)
        user = await self._user(authorization, request.remote or "")
        if user is None or not (user or (self.anonymous_pull and reading)):
            raise self._unauthorized(request, reading=reading)

    async def token(self, request: web.Request) -> web.Response:
        """GET /token: for a user with the right password, or for anybody."""
        authorization = request.headers.get("Authorization", "")
        client = request.remote or ""
        user = await self._htpasswd.user(authorization, client) if authorization else ""
        if user is None:
            fault = faults.Fault(401, "UNAUTHORIZED", "incorrect username or password")
            fault.headers["WWW-Authenticate"] = format_challenge(
                Challenge("basic", {"realm": SERVICE})
            )
            raise fault
        token = self._sign(_Claims(user, time.time() + _LIFE_S))
        return web.json_response({"token": token, "access_token": token, "expires_in": _LIFE_S})

    async def _user(self, authorization: str, client: str) -> str | None:
        """Who it proves to be, "" for anybody; None for nothing that counts."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.anonymous_pull:
            return self._verified(value.strip())
        return await self._htpasswd.user(authorization, client)

    def _unauthorized(self, request: web.Request, *, reading: bool) -> faults.Fault:
        fault = faults.Fault(401, "UNAUTHORIZED", "authentication required")
        challenge = Challenge("basic", {"realm": SERVICE})
        if self.anonymous_pull:
            challenge = Challenge("bearer", self._parameters(request, reading=reading))
        fault.headers["WWW-Authenticate"] = format_challenge(challenge)
        return fault

    def _parameters(self, request: web.Request, *, reading: bool) -> dict[str, str]:
        forwarded = request.headers.get("X-Forwarded-Proto", "")
        scheme = forwarded if forwarded in ("http", "https") else request.scheme
        parameters = {"realm": f"{scheme}://{request.host}{TOKEN_PATH}", "service": SERVICE}
        if name := request.match_info.get("name"):
            parameters["scope"] = pull_scope(name) if reading else push_scope(name)
        return parameters

    def _sign(self, claims: _Claims) -> str:
        data = msgspec.json.encode(claims)
        mark = hmac.digest(self._key, data, hashlib.sha256)
        return urlsafe_b64encode(mark + data).decode()

    def _verified(self, token: str) -> str | None:
        try:
            decoded = urlsafe_b64decode(token.encode())
        except ValueError:
            return None
        mark, data = decoded[:32], decoded[32:]
        if not hmac.compare_digest(mark, hmac.digest(self._key, data, hashlib.sha256)):
            return None
        claims = msgspec.json.decode(data, type=_Claims)
        return claims.user if claims.expires_s > time.time() else None
