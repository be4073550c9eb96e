"""Contract tests of hijacking, with a real server on a Unix socket (and TLS on TCP)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from pier.api.app import create_app
from pier.api.listen import Endpoint, Listener
from pier.api.streams import frame
from pier.containers.model import Container
from pier.containers.requests import AttachRequest, ExecRecord, ExecSpec
from pier.containers.spec import ContainerSpec
from pier.errors import Conflict, Failed, NotFound
from pier.runtime.frames import Deframer

ID = "a" * 64
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Echo:
    """Stands for a monitor: sends back what it gets, framed if asked, then "bye"."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def serve(self, sock: socket.socket, early: bytes, *, mux: bool) -> None:
        if self.error:
            raise self.error
        loop = asyncio.get_running_loop()
        received = early
        while data := await loop.sock_recv(sock, 65536):
            received += data
        answer = received + b"bye"
        await loop.sock_sendall(sock, frame(1, answer) if mux else answer)


class FakeContainers:
    def __init__(self, *, tty: bool = False) -> None:
        self.tty = tty
        self.requests: list[AttachRequest] = []

    def get(self, name: str) -> Container:
        if name != "c":
            raise NotFound(f"No such container: {name}")
        return Container(id=ID, name="c", image_id="", spec=ContainerSpec(tty=self.tty))

    async def attach(self, name: str, request: AttachRequest) -> Echo:
        self.requests.append(request)
        return Echo()


class FakeExecs:
    async def attach(self, exec_id: str, *, console_size: tuple[int, int] | None) -> Echo:
        if exec_id == "gone":
            raise NotFound("No such exec instance: gone")
        if exec_id == "bad":
            return Echo(Failed("executable file not found"))
        return Echo()

    async def start(self, exec_id: str, *, console_size: tuple[int, int] | None) -> None:
        raise Conflict(f"exec {exec_id} has already run")

    def get(self, exec_id: str) -> ExecRecord:
        return ExecRecord(id=exec_id, container_id=ID, spec=ExecSpec(cmd=("true",)))


class FakeEngine:
    def __init__(self, *, tty: bool = False) -> None:
        self.containers = FakeContainers(tty=tty)
        self.execs = FakeExecs()


@contextlib.asynccontextmanager
async def serving(
    sock: socket.socket, engine: FakeEngine, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    listener = Listener(create_app(engine))
    await listener.open([Endpoint(sock, tls)])
    try:
        yield
    finally:
        await listener.close()


@contextlib.asynccontextmanager
async def unix_server(tmp_path: Path, engine: FakeEngine | None = None) -> AsyncIterator[str]:
    path = str(tmp_path / "api.sock")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    async with serving(sock, engine or FakeEngine()):
        yield path


def attach_request(headers: str = UPGRADE, version: str = "/v1.45") -> bytes:
    query = "stdin=1&stdout=1&stderr=1&stream=1"
    return (
        f"POST {version}/containers/c/attach?{query} HTTP/1.1\r\nHost: docker\r\n"
        f"{headers}Content-Length: 0\r\n\r\n"
    ).encode()


def exec_request(exec_id: str, body: bytes = b'{"Detach":false,"Tty":false}') -> bytes:
    return (
        f"POST /v1.45/exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\n{UPGRADE}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def talk(path: str, *pieces: bytes) -> bytes:
    """Send the pieces, half-close, and return all that comes."""
    reader, writer = await asyncio.open_unix_connection(path)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def unframed(data: bytes) -> bytes:
    return b"".join(payload for _, payload in Deframer().feed(data))


HEAD_MUX = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)


async def check_echo(path: str, *pieces: bytes, head: bytes = HEAD_MUX) -> bytes:
    answer = await talk(path, *pieces)
    assert answer.startswith(head)
    return unframed(answer.removeprefix(head))


def test_stdin_sent_with_the_request_is_the_start_of_the_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            assert await check_echo(path, attach_request() + b"early", b" later") == (
                b"early laterbye"
            )

    asyncio.run(main())


def test_stdin_that_looks_like_a_request_is_not_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            stdin = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
            assert await check_echo(path, attach_request() + stdin) == stdin + b"bye"

    asyncio.run(main())


def test_a_half_close_at_once_is_the_end_of_stdin_and_output_still_comes(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            assert await check_echo(path, attach_request()) == b"bye"

    asyncio.run(main())


def test_a_request_that_comes_byte_by_byte_is_recognised(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            pieces = [bytes([byte]) for byte in attach_request() + b"x"]
            reader, writer = await asyncio.open_unix_connection(path)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(5):
                answer = await reader.read()
            writer.close()
            assert unframed(answer.removeprefix(HEAD_MUX)) == b"xbye"

    asyncio.run(main())


def test_requests_before_on_the_same_connection_do_not_matter(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            for _ in range(3):
                writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
                async with asyncio.timeout(5):
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert b"200 OK" in head
                    assert await reader.readexactly(2) == b"OK"
            writer.write(attach_request() + b"hi")
            writer.write_eof()
            async with asyncio.timeout(5):
                answer = await reader.read()
            writer.close()
            assert unframed(answer.removeprefix(HEAD_MUX)) == b"hibye"

    asyncio.run(main())


def test_without_upgrade_the_answer_is_a_bare_200_and_two_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
            assert await check_echo(path, attach_request("") + b"in", head=head) == b"inbye"

    asyncio.run(main())


def test_a_terminal_is_raw_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path, FakeEngine(tty=True)) as path:
            answer = await talk(path, attach_request() + b"in")
            assert b"application/vnd.docker.raw-stream" in answer
            assert answer.endswith(b"\r\n\r\ninbye")

    asyncio.run(main())


def test_clients_before_1_42_are_not_told_of_multiplexing(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            answer = await talk(path, attach_request(version="/v1.41"))
            assert b"application/vnd.docker.raw-stream" in answer
            assert answer.endswith(frame(1, b"bye"))

    asyncio.run(main())


def test_a_failed_attach_is_plain_text_with_a_status(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            request = attach_request().replace(b"/c/", b"/nope/")
            assert await talk(path, request) == (
                b"HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
                b"No such container: nope\r\n"
            )

    asyncio.run(main())


def test_exec_start_takes_its_body_and_leaves_the_rest_to_the_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            assert await check_echo(path, exec_request("e") + b"typed") == b"typedbye"

    asyncio.run(main())


@pytest.mark.parametrize("size", [2 << 20, 17 << 20, 99_999_999_999])
@pytest.mark.parametrize("path", ["/exec/e/start", "/containers/c/attach?stream=1&stdin=1"])
def test_a_body_without_measure_is_refused_before_it_is_here(
    tmp_path: Path, path: str, size: int
) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as server:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
                f"{UPGRADE}Content-Length: {size}\r\n\r\n"
            )
            some = b'{"Detach":false, "x":"' + b" " * (1 << 17)
            reader, writer = await asyncio.open_unix_connection(server)
            writer.write(head.encode() + some)
            if path.startswith("/exec") and size < 17 << 20:
                writer.write(b" " * (size - len(some) - 2) + b'"}')
                assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
            else:
                assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
                assert b"request body too large" in await reader.read(4096)
            writer.close()

    asyncio.run(main())


def test_an_exec_that_is_not_there_is_json_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(exec_request("gone") + b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 404 " in head.partition(b"\r\n")[0]
                assert await reader.readline() == b'{"message":"No such exec instance: gone"}\n'
                assert b" 200 " in await reader.readline()
            writer.close()

    asyncio.run(main())


def test_an_exec_that_fails_after_the_upgrade_says_so_in_the_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            text = await check_echo(path, exec_request("bad"))
            assert text == b"executable file not found\r\n"

    asyncio.run(main())


def test_a_detached_exec_is_ordinary_http(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(exec_request("e", b'{"Detach":true}'))
            async with asyncio.timeout(5):
                assert b" 409 " in await reader.readline()
            writer.close()

    asyncio.run(main())


def test_a_half_close_after_an_ordinary_request_still_gets_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            answer = await talk(path, b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
            assert answer.endswith(b"\r\n\r\nOK")
            create = (
                b"POST /containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 2\r\n"
                b"Content-Type: application/json\r\n\r\n{{"
            )
            assert b"invalid JSON" in await talk(path, create)

    asyncio.run(main())


def test_a_body_that_breaks_off_ends_the_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            request = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
            assert await talk(path, request) == b""

    asyncio.run(main())


def test_closing_the_listener_ends_what_is_being_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with unix_server(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(attach_request())
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_over_tls_the_stream_is_relayed_and_early_bytes_are_kept(authority: trustme.CA) -> None:
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)

    class UntilNewline:
        async def serve(self, sock: socket.socket, early: bytes, *, mux: bool) -> None:
            loop = asyncio.get_running_loop()
            received = early
            while not received.endswith(b"\n"):
                received += await loop.sock_recv(sock, 65536)
            await loop.sock_sendall(sock, frame(1, received * 50_000))

    async def main() -> None:
        engine = FakeEngine()
        engine.containers.attach = lambda *_: asyncio.sleep(0, UntilNewline())  # type: ignore[method-assign]  # a fake of a fake
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with serving(sock, engine, server_tls):
            reader, writer = await asyncio.open_connection("localhost", port, ssl=client_tls)
            writer.write(attach_request() + b"early")
            async with asyncio.timeout(10):
                await writer.drain()
                assert await reader.readexactly(len(HEAD_MUX)) == HEAD_MUX
                writer.write(b" late\n")
                answer = await reader.readexactly(8 + 50_000 * len(b"early late\n"))
                assert unframed(answer) == b"early late\n" * 50_000
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())
