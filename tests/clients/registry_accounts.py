"""Who may ask a registry: an account, its password file, a token server."""

import base64
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pier.registry.credentials import Credentials

ANN = Credentials("ann", "secret")


def htpasswd(tmp_path: Path) -> Path:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    file.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=4)).decode() + "\n")
    return file


class TokenServer:
    """Gives tokens that Debian's registry takes (distribution token specification, ES256)."""

    def __init__(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("token.example", key_type=trustme.KeyType.ECDSA)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key = key
        self.bundle = authority.cert_pem.bytes()
        lines = issued.cert_chain_pems[0].bytes().decode().splitlines()
        self.x5c = ["".join(lines[1:-1])]
        self.asked: list[list[tuple[str, str]]] = []
        self.life_s = 60

    async def respond(self, request: web.Request) -> web.StreamResponse:
        query = parse_qsl(request.query_string)
        authorization = request.headers.get("Authorization", "")
        if request.method == "POST":
            query = parse_qsl((await request.read()).decode())
            if dict(query).get("refresh_token") != "refresh":
                return web.Response(status=401)
        elif authorization and authorization != ANN.basic():
            return web.json_response({"details": "incorrect username or password"}, status=401)
        self.asked.append(query)
        known = request.method == "POST" or bool(authorization)
        scopes = [s for name, value in query if name == "scope" for s in value.split()]
        token = self.token(scopes if known else [])
        return web.json_response(
            {"token": token, "expires_in": self.life_s, "refresh_token": "refresh"}
        )

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "issuer", "aud": "service", "sub": "ann", "jti": os.urandom(4).hex(),
            "nbf": now - 5, "iat": now, "exp": now + self.life_s, "access": access,
        }  # fmt: skip
        header = {"typ": "JWT", "alg": "ES256", "x5c": self.x5c}
        text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
