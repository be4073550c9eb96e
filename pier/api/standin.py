"""Answers from memory while the event loop is stuck: in a disk that hangs, as a rule.

Records are written on the loop, so a file system that is frozen or away stops it in the middle of
a write. A thread that notices answers `_ping`, `version`, `info` and `ps` meanwhile, on the unix
sockets the loop listens on: by what is in memory, without addresses and published ports. All other
clients are handed to the loop, which serves them when it goes on.
"""

import asyncio
import contextlib
import logging
import re
import select
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import parse_qs

from pier.api import answers, listing
from pier.api.call import Engine
from pier.api.routes.system import PING_HEADERS, counted
from pier.api.schema.containers import View, summary_json
from pier.api.schema.filters import parse_filters
from pier.api.schema.system import info_json, version_json
from pier.api.schema.words import rfc3339
from pier.api.versions import MAX_VERSION, SERVER_VERSION, ApiVersion, negotiated
from pier.engine.model import EngineFacts
from pier.errors import PierError

_LOOK_S = 2.0
_STUCK_S = 3.0
"""Longer than anything that is done on the loop takes."""
_PATIENCE_S = 1.0
_HEAD = 16 * 1024
_ASKED = re.compile(
    rb"(GET|HEAD) (?:/v([0-9.]+))?/(_ping|version|info|containers/json)(?:\?([^ ]*))? HTTP/1\.1\r\n"
)
_BY_RECORD = frozenset(("exited", "health", "id", "label", "name", "status", "volume"))
"""Filters of `ps` that need nothing but the records of containers."""
_END = b"\r\n\r\n"
_FALSE = ("", "0", "no", "false", "none")
log = logging.getLogger("pier.api")


class StandIn:
    """`start` it when the loop serves; `close` it before the sockets are."""

    def __init__(
        self,
        engine: Engine,
        facts: EngineFacts,
        minimum: ApiVersion,
        sockets: Iterable[socket.socket],
        hand_over: Callable[[socket.socket], object],
    ) -> None:
        self._engine = engine
        self._facts = facts
        self._minimum = minimum
        self._sockets = {sock.fileno(): sock for sock in sockets}
        self._hand_over = hand_over
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._images = engine.images.count()
        """As of the last look."""
        self._closed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="stand-in", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_S):
            alive = threading.Event()
            try:
                self._loop.call_soon_threadsafe(self._beat, alive)
            except RuntimeError:  # the loop is closed
                return
            if not alive.wait(_STUCK_S):
                self._stand_in(alive)

    def _beat(self, alive: threading.Event) -> None:
        alive.set()
        if not self._closed.is_set():
            self._images = self._engine.images.count()

    def _stand_in(self, alive: threading.Event) -> None:
        since_s = time.monotonic()
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame, 5)) if frame else ""
        log.error("the daemon is stuck, in a disk that hangs? ps and info are answered\n%s", stack)
        waiting = select.poll()
        for fd in self._sockets:
            waiting.register(fd, select.POLLIN)
        while not alive.is_set() and not self._closed.is_set():
            for fd, _ in waiting.poll(100):
                self._accept(self._sockets[fd])
        log.error("the daemon goes on after %.0f s", _STUCK_S + time.monotonic() - since_s)

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except OSError:  # somebody was quicker, or there are no descriptors
            time.sleep(_PATIENCE_S / 10)
            return
        try:
            self._meet(client)
        except Exception as error:  # whatever it is: the thread must go on
            if not isinstance(error, (OSError, ValueError, PierError)):
                log.exception("nothing was answered from memory")
            self._loop.call_soon_threadsafe(self._hand_over, client)

    def _meet(self, client: socket.socket) -> None:
        """Answer, or raise: nothing of the request is taken then."""
        client.settimeout(_PATIENCE_S)
        head = client.recv(_HEAD, socket.MSG_PEEK)
        asked = _ASKED.match(head)
        if not asked or _END not in head or b"\r\norigin:" in head.lower():
            raise _NotOurs
        version = negotiated(asked[2].decode() if asked[2] else None, self._minimum)
        answer = self._answer(asked[3].decode(), (asked[4] or b"").decode(), version)
        if asked[1] == b"HEAD":
            answer = answer[: answer.index(_END) + len(_END)]
        with client, contextlib.suppress(OSError):
            client.recv(len(head))
            client.sendall(answer)

    def _answer(self, what: str, query: str, version: ApiVersion) -> bytes:
        if what == "_ping":
            return _response(b"OK", PING_HEADERS)
        return _json(self._value(what, query, version))

    def _value(self, what: str, query: str, version: ApiVersion) -> object:
        if what == "version":
            return version_json(self._facts, self._minimum)
        if what == "containers/json":
            return self._containers(query, version)
        states = Counter(container.state for container in self._engine.containers.known())
        counts = counted(states, images=self._images, listeners=self._engine.events.listeners)
        return info_json(self._facts, counts, rfc3339(time.time_ns()), version)

    def _containers(self, query: str, version: ApiVersion) -> Sequence[object]:
        values = {key: value[0] for key, value in parse_qs(query).items()}
        filters = parse_filters(values.get("filters", ""), _BY_RECORD)
        limit = int(values.get("limit", "0") or 0)
        everything = limit > 0 or values.get("all", "").lower() not in _FALSE
        everything = everything or listing.shows_stopped(filters)
        shown = [
            container
            for container in self._engine.containers.known()
            if (everything or listing.listed(container))
            and listing.matches_record(container, filters, ())
        ]
        now_ns = time.time_ns()
        views = [View(container=container) for container in shown[: limit or None]]
        return [summary_json(view, version, now_ns) for view in views]


class _NotOurs(OSError):
    """To be served by the loop."""


def _json(value: object) -> bytes:
    return _response(answers.encode(value) + b"\n", {"Content-Type": answers.JSON})


def _response(body: bytes, headers: dict[str, str]) -> bytes:
    lines = {
        **headers,
        "Server": f"Docker/{SERVER_VERSION} (linux)",
        "Api-Version": str(MAX_VERSION),
        "Ostype": "linux",
        "Connection": "close",
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body
