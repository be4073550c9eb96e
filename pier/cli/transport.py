"""Bytes to a daemon and back: sockets, and as much of HTTP/1.1 as an Engine API client needs.

RFC 9112. Written on bare sockets because `http.client` costs more to import than a whole
`pier ps`, and because a hijacked connection must hand over its socket and every early byte.
It does not know what is asked or answered.
"""

from __future__ import annotations

import os

from pier.cli.faults import Fault, NoDaemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Body = bytes | Iterable[bytes]
    # What this module asks of a socket; `_socket.socket` has it and is quicker to import.
    Socket = socket.socket

CHUNK = 64 * 1024
_MAX_LINE = 1 << 20
_NO_BODY = (204, 304)
_HEX = b"0123456789abcdefABCDEF"


class CutOff(Fault):
    """The daemon went before it had answered to the end; `text` says how in Go's words."""


class Response:
    """An answer whose header has arrived. The body is read as it is asked for."""

    __slots__ = ("_left", "connection", "headers", "mode", "reason", "status")

    def __init__(self, connection: Connection, *, head: bool) -> None:
        self.connection = connection
        line = connection.read_line(first=True)
        version, _, rest = line.partition(b" ")
        code, _, reason = rest.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not code.isdigit():
            raise Fault(f"malformed HTTP response {line[:40]!r}")
        self.status = int(code)
        self.reason = reason.decode("latin-1")
        self.headers: dict[str, str] = {}
        while line := connection.read_line():
            name, _, value = line.partition(b":")
            self.headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self._left = 0
        self.mode = self._body_mode(head=head)

    def _body_mode(self, *, head: bool) -> str:
        if head or self.status in _NO_BODY or self.status < 200:
            return "none"
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return "chunked"
        if "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
            return "length"
        return "close"

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request once the body has been read."""
        return self.mode != "close" and self.headers.get("connection", "").lower() != "close"

    def read(self) -> bytes:
        """Return the rest of the body."""
        data = b"".join(self.chunks())
        self.connection.release(reusable=self.reusable)
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        match self.mode:
            case "chunked":
                yield from self._chunked()
            case "length":
                yield from self.connection.read_exactly(self._left)
            case "close":
                while data := self.connection.read_some(CHUNK):
                    yield data

    def _chunked(self) -> Iterator[bytes]:
        """Only a chunk of the size 0 is the last one; the end of the stream is a loss."""
        connection = self.connection
        while size := _chunk_size(connection.read_line()):
            yield from connection.read_exactly(size)
            connection.read_line()
        while connection.read_line():
            pass

    def close(self) -> None:
        self.connection.close()


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(_HEX):
        raise Fault(f"malformed chunked encoding {line[:40]!r}")
    return int(digits, 16)


class Connection:
    """One connection to the daemon, with what was received and not yet read."""

    __slots__ = ("buffer", "failure", "on_release", "socket")

    def __init__(self, sock: Socket, on_release: Callable[[Connection], None]) -> None:
        self.socket = sock
        self.buffer = bytearray()
        self.on_release = on_release
        self.failure: Exception | None = None
        """Why the request could not be sent to its end: the file that was read, say."""

    def read_line(self, *, first: bool = False) -> bytes:
        """Return the next line without its end; raise CutOff where the stream ends before it.

        `first`: nothing of the answer has come yet, which Go calls another kind of end.
        """
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > _MAX_LINE:
                raise Fault("malformed HTTP response: a line has no end")
            data = self._receive(CHUNK)
            if not data:
                raise CutOff("EOF" if first and not self.buffer else "unexpected EOF")
            self.buffer += data
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return line.rstrip(b"\r")

    def read_some(self, limit: int) -> bytes:
        """Return what is there, or what comes next; b"" is the end of the stream."""
        if not self.buffer:
            return self._receive(limit)
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    def read_exactly(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes as they arrive; raise CutOff where the stream ends before."""
        while size:
            data = self.read_some(min(size, CHUNK))
            if not data:
                raise CutOff("unexpected EOF")
            size -= len(data)
            yield data

    def _receive(self, limit: int) -> bytes:
        try:
            data = self.socket.recv(limit)
        except ConnectionResetError as error:
            raise self.failure or CutOff("read: connection reset by peer") from error
        if not data and self.failure:
            raise self.failure
        return data

    @property
    def stale(self) -> bool:
        """Whether the daemon has ended the connection, or spoken unasked, while it was idle."""
        import select

        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def send_head(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))

    def send_chunks(self, chunks: Iterable[bytes]) -> None:
        """Send a chunked body. A daemon that hung up early has an answer ready: not an error.

        Where `chunks` raises, the daemon must not take what it got for the whole: the connection
        is cut, and who waits for the answer gets the error.
        """
        try:
            for chunk in chunks:
                if chunk:
                    self.socket.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:  # of whatever kind: it is raised again where the answer is read
            self.failure = error
            self._cut()

    def _cut(self) -> None:
        try:
            self.socket.shutdown(2)
        except OSError:
            return  # it has ended already

    def release(self, *, reusable: bool) -> None:
        """Give the connection back for the next request, or end it."""
        if reusable and not self.buffer:
            self.on_release(self)
        else:
            self.close()

    def close(self) -> None:
        self.socket.close()


def connect(address: str, tls: Callable[[], ssl.SSLContext] | None) -> Socket:
    """Return a socket connected to `address`; raise NoDaemon."""
    scheme, _, rest = address.partition("://")
    try:
        if scheme == "unix":
            return _connect_unix(rest)
        if scheme == "ssh":
            return _connect_ssh(address)
        return _connect_tcp(rest, tls)
    except PermissionError as error:
        raise Fault(
            "permission denied while trying to connect to the Docker daemon socket at "
            f"{address}: {error.strerror}"
        ) from error
    except OSError as error:
        raise NoDaemon(address, _tls_reason(error)) from error


def _tls_reason(error: OSError) -> str:
    return str(error) if type(error).__module__ == "ssl" else ""


def _connect_unix(path: str) -> Socket:
    import _socket

    sock: Socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)  # type: ignore[assignment] # the C base class, see Socket
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _connect_tcp(place: str, tls: Callable[[], ssl.SSLContext] | None) -> Socket:
    import socket

    host, _, port = place.split("/")[0].rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return sock
    return tls().wrap_socket(sock, server_hostname=host)


def _connect_ssh(address: str) -> Socket:
    """Run the client on the other host as a relay to its daemon, over `ssh`."""
    import socket
    import subprocess
    from urllib.parse import urlsplit

    url = urlsplit(address)
    command = ["ssh", *(["-l", url.username] if url.username else [])]
    command += ["-p", str(url.port)] if url.port else []
    relay = "pier system dial-stdio || docker system dial-stdio"
    remote = os.environ.get("PIER_SSH_RELAY", relay)
    ours, theirs = socket.socketpair()
    subprocess.Popen(
        [*command, "-T", "--", url.hostname or "", remote],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
    )
    theirs.close()
    return ours
