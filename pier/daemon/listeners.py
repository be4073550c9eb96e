"""Where the daemon listens: unix sockets, TCP, sockets passed by systemd.

The API is root. A unix socket is 0660 and the group's; TCP beyond loopback is served only to
clients with a certificate (DESIGN section 7).
"""

import grp
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pier.daemon import systemd
from pier.settings import InvalidSettings, Settings

log = logging.getLogger("pier.daemon")

BACKLOG = 512
PORT = 2375
TLS_PORT = 2376
_NO_GROUP = -1


@dataclass(frozen=True, slots=True)
class Listener:
    address: str
    sock: socket.socket
    tls: ssl.SSLContext | None = None


def open_listeners(settings: Settings) -> list[Listener]:
    """One listener per `hosts` entry. Raises InvalidSettings, OSError (address in use)."""
    tls = _tls_context(settings) if settings.tls or settings.tlsverify else None
    listeners: list[Listener] = []
    for host in settings.hosts:
        listeners += _open(host, settings, tls)
    return listeners


def _open(host: str, settings: Settings, tls: ssl.SSLContext | None) -> list[Listener]:
    scheme, _, rest = host.partition("://")
    match scheme:
        case "unix":
            return [Listener(host, _unix(Path(rest), settings.group))]
        case "tcp":
            return [Listener(host, _tcp(host, settings, tls), tls)]
        case "fd":
            return [Listener(host, sock) for sock in systemd.passed_sockets()]
    raise InvalidSettings(f"invalid listen address: {host}: expected unix://, tcp:// or fd://")


def _unix(path: Path, group: str) -> socket.socket:
    """A socket nobody but the owner could have opened before its group was set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # the daemon's lock is held: whoever made it is gone
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with _umask(0o177):
        sock.bind(str(path))
    os.chown(path, _NO_GROUP, _group_id(group))
    path.chmod(0o660)
    sock.listen(BACKLOG)
    return sock


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _group_id(group: str) -> int:
    if not group:
        return _NO_GROUP
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        log.debug("group %s does not exist: the socket is root's alone", group)
        return _NO_GROUP


def _tcp(host: str, settings: Settings, tls: ssl.SSLContext | None) -> socket.socket:
    parts = urlsplit(host)
    address = parts.hostname or "127.0.0.1"
    if not settings.tlsverify and not _is_loopback(address):
        raise InvalidSettings(
            f"refusing to listen on {host}: whoever reaches it is root on this machine; "
            "use --tlsverify with --tlscacert, --tlscert and --tlskey"
        )
    port = parts.port if parts.port is not None else (TLS_PORT if tls else PORT)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(BACKLOG)
    return sock


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tlscert, settings.tlskey)
        if settings.tlsverify:
            context.load_verify_locations(settings.tlscacert)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings(f"could not load the TLS certificate and key: {error}") from error
    return context


def close(listeners: list[Listener]) -> None:
    """Stop listening; a unix socket's file goes too, one that was passed to us stays."""
    for listener in listeners:
        listener.sock.close()
        scheme, _, path = listener.address.partition("://")
        if scheme == "unix":
            Path(path).unlink(missing_ok=True)
