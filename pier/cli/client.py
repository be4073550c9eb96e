"""The Engine API as this program uses it: versions, JSON, errors, hijacked connections."""

from __future__ import annotations

import os

from pier.cli.faults import ApiFault, Fault
from pier.cli.transport import Connection, CutOff, Response, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from pier.cli.address import Endpoint
    from pier.cli.transport import Body

    Query = Mapping[str, str | int | bool | list[str] | None]

NEWEST = (1, 51)
"""The newest version of the API that this client speaks."""
USER_AGENT = "Pier-Client/0.1 (linux)"
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def quote(text: str, keep: str = "") -> str:
    """Percent-encode `text` (RFC 3986), leaving the characters of `keep` alone."""
    return "".join(
        chr(byte) if chr(byte) in _SAFE or chr(byte) in keep else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def encode_query(query: Query) -> str:
    """Return `query` as `?a=1&b=2`: None and False are left out, lists repeat the key."""
    pairs: list[str] = []
    for key, value in query.items():
        if value is None or value is False:
            continue
        values = value if isinstance(value, list) else [value]
        pairs += [f"{key}={quote('1' if item is True else str(item))}" for item in values]
    return "?" + "&".join(pairs) if pairs else ""


def parse_version(text: str) -> tuple[int, int]:
    major, _, minor = text.strip().lstrip("v").partition(".")
    try:
        return int(major), int(minor)
    except ValueError:
        raise Fault(f"invalid API version: {text}") from None


class Client:
    """Talks to one daemon. Connections are reused between calls that end cleanly."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self.endpoint = endpoint
        self._headers = headers
        self._idle: list[Connection] = []
        self._version: tuple[int, int] | None = None
        self.server_os = ""

    @property
    def version(self) -> tuple[int, int]:
        """The API version in use, agreed with the daemon at the first call."""
        if self._version is None:
            self._version = self._negotiated()
        return self._version

    def _negotiated(self) -> tuple[int, int]:
        wanted = os.environ.get("DOCKER_API_VERSION")
        if wanted:
            return parse_version(wanted)
        response = self._send("HEAD", "/_ping", {}, None)
        response.read()
        if response.status >= 400:
            response = self._send("GET", "/_ping", {}, None)
            response.read()
        self.server_os = response.headers.get("ostype", "linux")
        theirs = response.headers.get("api-version")
        return min(NEWEST, parse_version(theirs)) if theirs else (1, 24)

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request; return the response once it is known to be a success."""
        major, minor = self.version
        target = f"/v{major}.{minor}{path}{encode_query(query or {})}"
        response = self._send(method, target, headers or {}, body)
        if response.status >= 400:
            raise _fault(response)
        return response

    def get(self, path: str, query: Query | None = None) -> Any:  # Any: JSON
        return _parsed(self.request("GET", path, query))

    def post(self, path: str, query: Query | None = None, body: object = None) -> Any:
        """POST `body` as JSON, if it is not None; return the JSON of the answer."""
        if body is None:
            return _parsed(self.request("POST", path, query))
        return _parsed(self.request("POST", path, query, *json_body(body)))

    def delete(self, path: str, query: Query | None = None) -> Any:
        return _parsed(self.request("DELETE", path, query))

    def hijack(self, path: str, query: Query, body: object = None) -> Response:
        """Open a two-way stream; its connection is the caller's from here on."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        data = b""
        if body is not None:
            data, more = json_body(body)
            headers |= more
        return self.request("POST", path, query, data, headers)

    def sibling(self) -> Client:
        """Return another client of this daemon, for use in another thread."""
        twin = Client(self.endpoint, self._headers)
        twin._version = self.version
        return twin

    def dial(self) -> Connection:
        """Return a fresh connection, as `system dial-stdio` wants one."""
        tls = self.endpoint.tls
        sock = connect(self.endpoint.address, tls.context if tls else None)
        return Connection(sock, self._idle.append)

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: Body | None
    ) -> Response:
        connection = self._connection()
        host = "api.moby.localhost" if self.endpoint.address.startswith("unix") else "docker"
        head = {"Host": host, "User-Agent": USER_AGENT, **self._headers, **headers}
        try:
            if body is None or isinstance(body, bytes):
                if body is not None or method in ("POST", "PUT"):
                    head["Content-Length"] = str(len(body or b""))
                connection.send_head(method, target, head)
                if body:
                    connection.socket.sendall(body)
            else:
                head["Transfer-Encoding"] = "chunked"
                connection.send_head(method, target, head)
                _upload(connection, body)
            return Response(connection, head=method == "HEAD")
        except ConnectionError as error:
            reason = (error.strerror or str(error)).lower()
            raise self._no_answer(method, target, f"write: {reason}") from error
        except CutOff as error:
            raise self._no_answer(method, target, error.text) from error

    def _no_answer(self, method: str, target: str, reason: str) -> Fault:
        url = f"{self._base_url}{target}"
        return Fault(f'error during connect: {method.title()} "{url}": {reason}')

    def _connection(self) -> Connection:
        """Return an idle connection that the daemon has not ended meanwhile, or a fresh one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale:
                return connection
            connection.close()
        return self.dial()

    @property
    def _base_url(self) -> str:
        """The endpoint as a URL of Go's client: a socket's path stands for the host."""
        scheme, _, place = self.endpoint.address.partition("://")
        if scheme == "unix":
            return f"http://{quote(place)}"
        return f"{'https' if self.endpoint.tls else 'http'}://{place}"


def _upload(connection: Connection, body: Iterable[bytes]) -> None:
    """Send `body` beside the answer: a daemon may talk, or refuse, while it still listens."""
    import threading

    threading.Thread(target=connection.send_chunks, args=(body,), daemon=True).start()


def json_body(value: object) -> tuple[bytes, dict[str, str]]:
    from pier.cli.jsonlite import format_json

    data = format_json(value).encode("utf-8", "surrogateescape")
    return data, {"Content-Type": "application/json"}


def _parsed(response: Response) -> Any:  # Any: JSON
    data = response.read()
    if not data.strip():
        return None
    from pier.cli.jsonlite import parse_json

    return parse_json(data)


def _fault(response: Response) -> ApiFault:
    text = response.read().decode("utf-8", "replace").strip()
    message = text
    if response.headers.get("content-type", "").startswith("application/json"):
        from pier.cli.jsonlite import parse_json

        try:
            message = parse_json(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text
    return ApiFault(response.status, message.strip() or response.reason)


def json_stream(response: Response) -> Iterator[Any]:
    """Yield the JSON values of a streamed answer, each as soon as its line is complete."""
    from pier.cli.jsonlite import scan_all

    held = b""
    for chunk in response.chunks():
        whole, newline, held_part = (held + chunk).rpartition(b"\n")
        held = held_part
        if newline:
            yield from scan_all(whole.decode("utf-8", "replace").replace("\x1e", " "))
    if held.strip():
        yield from scan_all(held.decode("utf-8", "replace"))
    response.connection.release(reusable=response.reusable)
