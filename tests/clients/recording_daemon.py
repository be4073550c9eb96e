"""A daemon that runs nothing: it records what a client asks and gives canned answers.

The same one is shown to Docker's client and to Pier's, so that what they ask, and what they
print for the same answers, can be compared.
"""

import json
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import override

CONTAINER_ID = "f0" * 32
NO_ANSWER = 0
"""The status of a daemon that hangs up instead."""
Answer = Any  # JSON, bytes, or a function of the request
Answers = Mapping[tuple[str, str], Answer]


@dataclass(frozen=True)
class Asked:
    """One request without the version in its path."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Status:
    """An answer that is not plain 200 with JSON."""

    code: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bytes | None = None
    """After 101: what the hijacked connection carries."""
    cut_off: bool = False
    """The connection ends after the body, but before the chunk that says so."""
    converse: Callable[[Any, Any], None] | None = None
    """After 101: talks to the client with the two ends of the connection, until it returns."""


DEFAULT_ANSWERS: Answers = {
    ("POST", "/containers/create"): Status(201, {"Id": CONTAINER_ID, "Warnings": []}),
    ("POST", f"/containers/{CONTAINER_ID}/attach"): Status(101, stream=b""),
    ("POST", f"/containers/{CONTAINER_ID}/wait"): {"StatusCode": 0},
    ("POST", f"/containers/{CONTAINER_ID}/start"): Status(204),
    ("GET", "/info"): {"OSType": "linux", "Architecture": "x86_64", "Swarm": {}},
}


class RecordingDaemon:
    """Serves on a unix socket inside `directory` until closed."""

    def __init__(self, directory: Path, answers: Answers | None = None) -> None:
        self.path = directory / "engine.sock"
        self.answers = {**DEFAULT_ANSWERS, **(answers or {})}
        self.asked: list[Asked] = []
        self._server = _Server(str(self.path), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: str, daemon: RecordingDaemon) -> None:
        super().__init__(path, _Conversation)
        self.recorder = daemon

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves while its next request is awaited has done nothing wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it came


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @override
    def address_string(self) -> str:
        return "client"

    @override
    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        query = parse_qs(url.query, keep_blank_values=True)
        asked = Asked(self.command, path, query, self._body(), dict(self.headers.items()))
        if path == "/_ping":
            self._reply(Status(200, b"" if self.command == "HEAD" else b"OK"))
            return
        self.server.recorder.asked.append(asked)
        missing = Status(404, {"message": f"no answer for {self.command} {path}"})
        answer = self.server.recorder.answers.get((self.command, path), missing)
        try:
            self._reply(answer(asked) if callable(answer) else answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has heard enough

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815 - http.server's

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _reply(self, answer: Answer) -> None:
        status = answer if isinstance(answer, Status) else Status(200, answer)
        if status.code == NO_ANSWER:
            self.close_connection = True
            return
        if status.code == 101:
            self._hijack(status)
            return
        body = status.body
        if callable(body):
            self._reply_later(body)
            return
        if status.cut_off:
            self._break_off(body if isinstance(body, bytes) else json.dumps(body).encode())
            return
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        self.send_response(status.code)
        for name, value in {
            "Api-Version": "1.50",
            "Ostype": "linux",
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            **status.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reply_later(self, body: Callable[[], Any]) -> None:
        """Send the header at once and the body when it is known, as /wait does."""
        self._begin_chunks()
        data = json.dumps(body()).encode()
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    def _break_off(self, data: bytes) -> None:
        self._begin_chunks()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.close_connection = True

    def _begin_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _hijack(self, status: Status) -> None:
        head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        kind = status.headers.get("Content-Type", "application/vnd.docker.multiplexed-stream")
        self.wfile.write(f"{head}Content-Type: {kind}\r\n\r\n".encode())
        if status.stream is not None:
            self.wfile.write(status.stream)
        if status.converse is not None:
            status.converse(self.rfile, self.wfile)
        self.close_connection = True


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


Make = Callable[..., RecordingDaemon]
