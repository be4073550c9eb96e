"""Messages between daemon, spawner and monitor: one JSON object a SEQPACKET datagram, with fds.

A request has "op" and "seq"; its answer has "re" (that seq), and "error" if it failed. Anything
else is a notice with "event". Version 1: a monitor outlives the daemon that started it, so
fields are only ever added. Loaded by every monitor: keep it small.
"""

import binascii
import errno
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pier.linux.mount import Overlay
from pier.runtime.orders import (
    AttachOptions,
    ConsoleSize,
    ExecOrder,
    Exit,
    LogOrder,
    MonitorOrder,
    NativeExec,
    RuntimeInfo,
)

VERSION = 1
SOCKET_NAME = "monitor.sock"
EXIT_NAME = "exit"
_LIMIT = 1 << 20
_FDS = 8
_SO_SNDBUFFORCE = 32


class Message(NamedTuple):
    """fields empty and `ended`: the peer has closed. The receiver owns the descriptors."""

    fields: Mapping[str, Any]  # JSON from the peer
    fds: tuple[int, ...] = ()
    ended: bool = False


def socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # An order names every layer: an image of hundreds needs more than the default 208 KiB.
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _LIMIT)
    return ours, theirs


def send(sock: socket.socket, fields: Mapping[str, object], fds: Sequence[int] = ()) -> None:
    data = json.dumps(fields, separators=(",", ":")).encode()
    if len(data) > _LIMIT:  # it would be cut at the other end, and end who reads it
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    socket.send_fds(sock, [data], list(fds), socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> Message:
    """The next message; raises BlockingIOError where the socket would block."""
    try:
        data, fds, _, _ = socket.recv_fds(sock, _LIMIT, _FDS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        data, fds = b"", []
    if not data:
        return Message({}, tuple(fds), ended=True)
    return Message(json.loads(data), tuple(fds))


def encode_bytes(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def decode_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text)


def from_order(order: MonitorOrder | ExecOrder) -> dict[str, Any]:
    """An order as JSON. An ExecOrder's `process` is left out: it goes by file."""
    fields = order._asdict()
    for key in ("bundle", "directory"):
        if key in fields:
            fields[key] = os.fspath(fields[key])
    if "process" in fields:
        fields["process"] = {}
    if isinstance(order, ExecOrder):
        fields["native"] = order.native and order.native._asdict()
    fields["runtime"] = order.runtime._asdict()
    fields["console_size"] = list(order.console_size)
    if isinstance(order, MonitorOrder):
        fields["overlay"] = order.overlay and order.overlay._asdict()
        fields["log"] = order.log and _from_log(order.log)
    return fields


def _from_log(log: LogOrder) -> dict[str, Any]:
    return {**log._asdict(), "attributes": dict(log.attributes)}


def to_order(fields: Mapping[str, Any]) -> MonitorOrder | ExecOrder:
    values = dict(fields)
    runtime = dict(values["runtime"])
    runtime["arguments"] = tuple(runtime["arguments"])
    values["runtime"] = RuntimeInfo(**runtime)
    values["console_size"] = ConsoleSize(*values["console_size"])
    if "exec_id" in values:
        if values["native"]:
            values["native"] = NativeExec(**values["native"])
        return ExecOrder(**values)
    if values["overlay"]:
        overlay = dict(values["overlay"])
        overlay["lower"] = tuple(overlay["lower"])
        values["overlay"] = Overlay(**overlay)
    if values["log"]:
        values["log"] = LogOrder(**values["log"])
    return MonitorOrder(**values)


def from_attach(options: AttachOptions) -> dict[str, Any]:
    fields = options._asdict()
    fields["detach_keys"] = encode_bytes(options.detach_keys)
    fields["early"] = encode_bytes(options.early)
    return fields


def to_attach(fields: Mapping[str, Any]) -> AttachOptions:
    values = {name: fields[name] for name in AttachOptions._fields}
    values["detach_keys"] = decode_bytes(values["detach_keys"])
    values["early"] = decode_bytes(values["early"])
    return AttachOptions(**values)


def from_exit(exit_: Exit) -> dict[str, Any]:
    return {**exit_._asdict(), "output": encode_bytes(exit_.output)}


def to_exit(fields: Mapping[str, Any]) -> Exit:
    values = {name: fields[name] for name in Exit._fields if name in fields}
    values["output"] = decode_bytes(values.get("output", ""))
    return Exit(**values)
