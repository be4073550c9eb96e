"""The daemon's end of a socket to a monitor: requests and answers, notices, the end. asyncio."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pier.errors import Failed
from pier.runtime import protocol


class MonitorLost(Failed):
    """The monitor is gone. If its process had ended, the exit file tells how (`read_exit`)."""

    def __init__(self, why: str = "") -> None:
        super().__init__(f"the container's monitor is gone{why and ': '}{why}")


class Connection:
    """Takes `sock` over. `on_notice` gets what is no answer; `on_end` is called once."""

    def __init__(
        self,
        sock: socket.socket,
        on_notice: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._socket = sock
        self._on_notice = on_notice
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self._pending: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._on_readable)

    async def request(
        self, op: str, fields: Mapping[str, object], fds: Sequence[int] = ()
    ) -> Mapping[str, Any]:
        """The answer. Raises MonitorLost; Failed where the monitor refuses.

        Descriptors that came with it are its `fds`, the caller's to close.
        """
        seq, answer = self._expect()
        try:
            await self._send({**fields, "op": op, "seq": seq}, fds)
            return checked(await answer)
        finally:
            self._pending.pop(seq, None)

    def post(
        self, op: str, fields: Mapping[str, object], fds: Sequence[int] = ()
    ) -> "asyncio.Future[Mapping[str, Any]]":
        """Send a request now; its answer, for `checked`. To be used while the socket has room."""
        seq, answer = self._expect()
        answer.add_done_callback(lambda _answer: self._pending.pop(seq, None))
        try:
            protocol.send(self._socket, {**fields, "op": op, "seq": seq}, fds)
        except OSError:
            self.close()  # which answers with MonitorLost
        return answer

    def _expect(self) -> "tuple[int, asyncio.Future[Mapping[str, Any]]]":
        if self._closed:
            raise MonitorLost
        self._seq += 1
        answer = self._pending[self._seq] = self._loop.create_future()
        return self._seq, answer

    def finish(self) -> None:
        """Ask for nothing more; what the monitor says is still heard."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for answer in tuple(self._pending.values()):
            if not answer.done():
                answer.set_exception(MonitorLost())
                answer.exception()  # its request may have failed before it came to wait
        self._on_end()

    async def _send(self, fields: Mapping[str, object], fds: Sequence[int]) -> None:
        while True:
            try:
                protocol.send(self._socket, fields, fds)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                self.close()
                raise MonitorLost(error.strerror or "") from error
            else:
                return

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket, _settle, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        while not self._closed:
            try:
                message = protocol.receive(self._socket)
            except BlockingIOError:
                return
            if message.ended:
                self.close()
                return
            self._dispatch(message)

    def _dispatch(self, message: protocol.Message) -> None:
        answer = self._pending.get(message.fields.get("re", 0))
        if answer is not None and not answer.done():
            answer.set_result({**message.fields, "fds": message.fds})
            return
        _close_all(message.fds)
        if "event" in message.fields:
            self._on_notice(message.fields)


def checked(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises Failed where the monitor refused."""
    if "error" in answer:
        raise Failed(f"monitor: {answer['error']}")
    return answer


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
