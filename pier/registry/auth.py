"""Turning credentials and a challenge into an Authorization header.

Distribution token specification (token, oauth, scope). Tokens are kept per endpoint, identity
and scope until shortly before they expire; several requests that need the same one share one
exchange. A secret goes to the host it is for and to the token server that host names, over TLS
unless the registry itself is allowed plain HTTP, and nowhere else: mirrors, redirect targets and
token servers' redirects get none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec

from pier.registry.credentials import ANONYMOUS, Credentials
from pier.registry.failures import BadAnswer, RegistryUnauthorized
from pier.registry.hosts import Endpoint
from pier.registry.protocol import Challenge, merge_scopes, parse_errors, parse_http_url

CLIENT_ID = "pier"
_DEFAULT_LIFE_S = 60.0
_MARGIN = 0.9
_MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One question to a token server; `form` makes it a POST."""

    url: str
    authorization: str = ""
    form: Mapping[str, str] | None = None
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    status: int
    body: bytes


Exchange = Callable[[TokenRequest], Awaitable[TokenAnswer]]


class _TokenBody(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None
    refresh_token: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    value: str
    expires_s: float
    """On the monotonic clock."""
    refresh: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks whom."""

    endpoint: Endpoint
    credentials: Credentials = ANONYMOUS


@dataclass(slots=True)
class _Memory:
    """What one identity has learnt."""

    challenge: Challenge | None = None
    """The last one, without its scopes: those were for one request."""
    offered: dict[frozenset[str], tuple[str, ...]] = field(default_factory=dict)
    tokens: dict[frozenset[str], Token] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Authorizer:
    def __init__(self, exchange: Exchange, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._clock_s = clock_s
        self._memories: dict[Identity, _Memory] = {}

    async def header(self, identity: Identity, scopes: Sequence[str]) -> str:
        """What to send now: "" until a challenge has said what is wanted."""
        if identity.credentials.registry_token:
            return f"Bearer {identity.credentials.registry_token}"
        memory = self._memory(identity)
        if memory.challenge is None:
            return ""
        if memory.challenge.scheme == "basic":
            return identity.credentials.basic()
        return f"Bearer {(await self._token(identity, memory, scopes)).value}"

    async def learn(
        self, identity: Identity, challenges: Sequence[Challenge], scopes: Sequence[str], sent: str
    ) -> bool:
        """Take in a 401 to a request that carried `sent`; False when trying again is pointless."""
        memory = self._memory(identity)
        challenge = _preferred(challenges)
        if challenge is None or identity.credentials.registry_token:
            return False
        if challenge.scheme == "basic":
            memory.challenge = challenge
            return bool(identity.credentials.basic()) and sent != identity.credentials.basic()
        memory.challenge = challenge
        if len(memory.offered) > _MAX_TOKENS:
            memory.offered.clear()
        memory.offered[frozenset(scopes)] = challenge.scopes
        kept = memory.tokens.get(frozenset(scopes))
        if kept is not None and sent == f"Bearer {kept.value}":
            del memory.tokens[frozenset(scopes)]
        return True

    async def login(self, identity: Identity, challenge: Challenge) -> str:
        """Prove the credentials to a token server; the refresh token it gives, or ""."""
        token = await self._ask(identity, challenge, (), offline=True)
        return token.refresh

    def _memory(self, identity: Identity) -> _Memory:
        if len(self._memories) > _MAX_TOKENS:
            self._memories.clear()
        return self._memories.setdefault(identity, _Memory())

    async def _token(self, identity: Identity, memory: _Memory, scopes: Sequence[str]) -> Token:
        key = frozenset(scopes)
        async with memory.lock:
            kept = memory.tokens.get(key)
            if kept is not None and kept.expires_s > self._clock_s():
                return kept
            challenge = memory.challenge
            if challenge is None:
                raise RegistryUnauthorized(identity.endpoint.host)
            wanted = merge_scopes(scopes, memory.offered.get(key, ()))
            try:
                token = await self._ask(identity, challenge, wanted, offline=False)
            except BaseException:
                memory.challenge = None  # a wrong one must not last: the registry says it again
                raise
            if len(memory.tokens) > _MAX_TOKENS:
                memory.tokens.clear()
            memory.tokens[key] = token
            return token

    async def _ask(
        self, identity: Identity, challenge: Challenge, scopes: Sequence[str], *, offline: bool
    ) -> Token:
        request = token_request(identity, challenge, scopes, offline=offline)
        answer = await self._exchange(request)
        if answer.status in (400, 401, 403):
            said = "\n".join(entry.text() for entry in parse_errors(answer.body))
            raise RegistryUnauthorized(
                identity.endpoint.host, said or "unauthorized: incorrect username or password"
            )
        if answer.status != 200:
            raise BadAnswer(
                identity.endpoint.host, f"its token server answered with status {answer.status}"
            )
        return self._read(identity, answer.body)

    def _read(self, identity: Identity, body: bytes) -> Token:
        try:
            wire = msgspec.json.decode(body, type=_TokenBody)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(identity.endpoint.host, f"its token cannot be read: {error}") from error
        value = wire.token or wire.access_token
        if not value or not value.isprintable():
            raise BadAnswer(identity.endpoint.host, "authorization server did not include a token")
        life = wire.expires_in if wire.expires_in and wire.expires_in > 0 else _DEFAULT_LIFE_S
        return Token(value, self._clock_s() + life * _MARGIN, wire.refresh_token)


def _preferred(challenges: Sequence[Challenge]) -> Challenge | None:
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


def token_request(
    identity: Identity, challenge: Challenge, scopes: Sequence[str], *, offline: bool
) -> TokenRequest:
    """What to ask the token server; raises BadAnswer where asking would give a secret away."""
    endpoint, credentials = identity.endpoint, identity.credentials
    realm = challenge.parameters.get("realm", "")
    _check_realm(endpoint, realm, secret=not credentials.anonymous)
    service = challenge.parameters.get("service", "")
    if credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": CLIENT_ID,
            "scope": " ".join(scopes),
            "refresh_token": credentials.identity_token,
        }
        return TokenRequest(realm, form=form, endpoint=endpoint)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    if credentials.username:
        query.append(("account", credentials.username))
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    joint = "&" if "?" in realm else "?"
    return TokenRequest(
        realm + joint + urlencode(query), authorization=credentials.basic(), endpoint=endpoint
    )


def _check_realm(endpoint: Endpoint, realm: str, *, secret: bool) -> None:
    parts = parse_http_url(realm)
    if parts is None:
        raise BadAnswer(endpoint.host, f"its token server {realm!r} is no http(s) address")
    if secret and parts.scheme == "http" and not endpoint.insecure:
        raise BadAnswer(
            endpoint.host, f"wants the credentials sent to {realm} in plain HTTP; refused"
        )
