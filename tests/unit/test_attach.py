"""pier.containers.attach: detach keys and the queue of clients before a start."""

import asyncio
import socket

import pytest

from pier.containers.attach import InvalidDetachKeys, Queue, frame, parse_detach_keys
from pier.runtime.orders import AttachOptions


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-a,x", b"\x01x"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("DEL,a", b"\x7fa"),
    ],
)
def test_keys(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,,q", "ctrl-ab", "Ctrl-a", "ä"])
def test_nonsense_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidDetachKeys, match="Invalid detach keys"):
        parse_detach_keys(text)


def test_a_frame_carries_its_stream_and_length() -> None:
    assert frame("stderr", b"ab") == b"\x02\x00\x00\x00\x00\x00\x00\x02ab"


def test_a_start_that_failed_hangs_up_on_those_who_waited() -> None:
    async def wait_in_vain() -> bytes:
        ours, theirs = socket.socketpair()
        queue = Queue()
        with theirs:
            with ours:
                queue.add(ours, AttachOptions())
            queue.close()
            return theirs.recv(1)

    assert asyncio.run(wait_in_vain()) == b""
