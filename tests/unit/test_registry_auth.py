"""Tokens: asked for once, kept, renewed; secrets only where they belong."""

import asyncio
from dataclasses import replace

import pytest

from pier.registry.auth import Authorizer, Identity, TokenAnswer, TokenRequest, token_request
from pier.registry.credentials import Credentials
from pier.registry.failures import BadAnswer, RegistryUnauthorized
from pier.registry.hosts import Endpoint
from pier.registry.protocol import Challenge

ENDPOINT = Endpoint("r.example")
USER = Identity(ENDPOINT, Credentials("ann", "secret"))
CHALLENGE = Challenge("bearer", {"realm": "https://auth.example/token", "service": "r"})
SCOPES = ("repository:a:pull",)


class TokenServer:
    def __init__(self) -> None:
        self.asked: list[TokenRequest] = []
        self.answer = TokenAnswer(200, b"")
        self.now_s = 0.0

    async def exchange(self, request: TokenRequest) -> TokenAnswer:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.answer.body or self.answer.status != 200:
            return self.answer
        return TokenAnswer(200, b'{"token":"t%d","expires_in":100}' % len(self.asked))


def test_one_exchange_serves_many_requests_until_the_token_ends() -> None:
    async def scenario() -> None:
        server = TokenServer()
        authorizer = Authorizer(server.exchange, lambda: server.now_s)
        assert await authorizer.header(USER, SCOPES) == ""
        assert await authorizer.learn(USER, [CHALLENGE], SCOPES, "")
        headers = await asyncio.gather(*(authorizer.header(USER, SCOPES) for _ in range(5)))
        assert headers == ["Bearer t1"] * 5
        server.now_s = 91
        assert await authorizer.header(USER, SCOPES) == "Bearer t2"
        assert await authorizer.learn(USER, [CHALLENGE], SCOPES, "Bearer t2")
        assert await authorizer.header(USER, SCOPES) == "Bearer t3"
        assert await authorizer.header(replace(USER, credentials=Credentials()), SCOPES) == ""

    asyncio.run(scenario())


def test_basic_is_sent_only_when_asked_for_and_not_twice() -> None:
    async def scenario() -> None:
        authorizer = Authorizer(TokenServer().exchange)
        assert await authorizer.learn(USER, [Challenge("basic")], SCOPES, "")
        sent = await authorizer.header(USER, SCOPES)
        assert sent == "Basic YW5uOnNlY3JldA=="
        assert not await authorizer.learn(USER, [Challenge("basic")], SCOPES, sent)
        nobody = Identity(ENDPOINT)
        assert not await authorizer.learn(nobody, [Challenge("basic")], SCOPES, "")

    asyncio.run(scenario())


@pytest.mark.parametrize("realm", ["https://wrong.example/token", "nonsense", ""])
def test_a_wrong_challenge_is_forgotten_when_it_leads_nowhere(realm: str) -> None:
    async def scenario() -> None:
        server = TokenServer()
        server.answer = TokenAnswer(503, b"")
        authorizer = Authorizer(server.exchange)
        await authorizer.learn(USER, [Challenge("bearer", {"realm": realm})], SCOPES, "")
        with pytest.raises(BadAnswer):
            await authorizer.header(USER, SCOPES)
        server.answer = TokenAnswer(200, b"")
        assert await authorizer.header(USER, SCOPES) == ""
        assert await authorizer.learn(USER, [CHALLENGE], SCOPES, "")
        assert (await authorizer.header(USER, SCOPES)).startswith("Bearer t")

    asyncio.run(scenario())


def test_wrong_credentials_and_broken_answers_have_their_words() -> None:
    async def ask(answer: TokenAnswer) -> None:
        server = TokenServer()
        server.answer = answer
        authorizer = Authorizer(server.exchange)
        await authorizer.learn(USER, [CHALLENGE], SCOPES, "")
        await authorizer.header(USER, SCOPES)

    with pytest.raises(RegistryUnauthorized, match="incorrect username or password"):
        asyncio.run(ask(TokenAnswer(401, b"")))
    with pytest.raises(BadAnswer, match="did not include a token"):
        asyncio.run(ask(TokenAnswer(200, b"{}")))
    with pytest.raises(BadAnswer, match="did not include a token"):
        asyncio.run(ask(TokenAnswer(200, b'{"token":"a\\r\\nX: y"}')))
    with pytest.raises(BadAnswer, match="cannot be read"):
        asyncio.run(ask(TokenAnswer(200, b"[")))


def test_a_secret_goes_nowhere_in_plain_http() -> None:
    plain = Challenge("bearer", {"realm": "http://auth.example/token"})
    with pytest.raises(BadAnswer, match="plain HTTP; refused"):
        token_request(USER, plain, SCOPES, offline=False)
    insecure = replace(USER, endpoint=replace(ENDPOINT, schemes=("https", "http")))
    assert token_request(insecure, plain, SCOPES, offline=False).authorization
    for realm in (
        "",
        "file:///etc/passwd",
        "https://u:p@x/",
        "token",
        "https://[x/",
        "https://h:x/",
    ):
        with pytest.raises(BadAnswer, match="no http"):
            token_request(USER, Challenge("bearer", {"realm": realm}), SCOPES, offline=False)


def test_an_identity_token_is_exchanged_by_post() -> None:
    identity = Identity(ENDPOINT, Credentials(identity_token="refresh"))
    request = token_request(identity, CHALLENGE, SCOPES, offline=False)
    assert request.url == "https://auth.example/token"
    assert not request.authorization
    assert request.form is not None
    assert request.form["refresh_token"] == "refresh"
    assert request.form["scope"] == "repository:a:pull"


def test_a_token_request_names_service_scopes_and_account() -> None:
    request = token_request(USER, CHALLENGE, (*SCOPES, "repository:b:pull"), offline=True)
    assert request.url == (
        "https://auth.example/token?service=r&scope=repository%3Aa%3Apull"
        "&scope=repository%3Ab%3Apull&account=ann&offline_token=true&client_id=pier"
    )
