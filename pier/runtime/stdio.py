"""The descriptors a process starts with: pipes, /dev/null, or a terminal the runtime sends."""

import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

from pier.runtime.log_format import STDERR, STDOUT
from pier.runtime.loop import READABLE, Loop
from pier.runtime.orders import ConsoleSize

_CONSOLE = "console.sock"
_WINSIZE = struct.Struct("HHHH")


class ChildFds(NamedTuple):
    """For the runtime's 0, 1, 2. Close after the start, or the pipes never end."""

    stdin: int
    stdout: int
    stderr: int

    def close(self) -> None:
        for fd in set(self):
            os.close(fd)


class Pipes(NamedTuple):
    """child: the process's ends; the rest is ours. stdin -1: the process has /dev/null."""

    child: ChildFds
    stdin: int
    outputs: tuple[tuple[str, int], ...]


def make_pipes(*, stdin: bool) -> Pipes:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    if stdin:
        in_read, in_write = os.pipe()
    else:
        in_read, in_write = os.open(os.devnull, os.O_RDONLY), -1
    child = ChildFds(in_read, out_write, err_write)
    return Pipes(child, in_write, ((STDOUT, out_read), (STDERR, err_read)))


def null_fds() -> ChildFds:
    """What the runtime itself gets where the process has a terminal."""
    return ChildFds(*(os.open(os.devnull, os.O_RDWR) for _ in range(3)))


def set_size(terminal: int, height: int, width: int) -> None:
    """TIOCSWINSZ: rows and columns, of which 16 bits count, as in Docker.

    The kernel sends SIGWINCH to the foreground group.
    """
    packed = _WINSIZE.pack(height & 0xFFFF, width & 0xFFFF, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)


class Console:
    """Receives the terminal from the runtime; remembers sizes asked for before it is there."""

    def __init__(self, loop: Loop, directory: "Directory", size: ConsoleSize) -> None:
        self.fd = -1
        self._loop = loop
        self._size = size
        self._directory = directory
        self._listener = directory.listen(_CONSOLE, socket.SOCK_STREAM)
        self._listener.settimeout(0)
        self._connection: socket.socket | None = None
        self.on_open: Callable[[int], None] = lambda fd: None
        loop.watch(self._listener.fileno(), READABLE, lambda _events: self.receive())

    @property
    def path(self) -> str:
        """For the runtime, a process of another descriptor table."""
        return self._directory.path_for_others(_CONSOLE)

    def receive(self) -> None:
        """Take the terminal if it has been sent; whoever connects may take its time."""
        if self.fd >= 0:
            return
        if self._connection is None:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return
            self._connection.setblocking(False)
            self._loop.watch(self._connection.fileno(), READABLE, lambda _events: self.receive())
        try:
            _, fds, _, _ = socket.recv_fds(self._connection, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        self._close_connection()
        if fds:
            self.close_listener()
            self.fd = fds[0]
            self.resize(self._size)
            self.on_open(self.fd)

    def resize(self, size: ConsoleSize) -> None:
        """Now, or when the terminal comes."""
        self._size = size
        if self.fd >= 0 and (size.height or size.width):
            with contextlib.suppress(OSError):
                set_size(self.fd, size.height, size.width)

    def close_listener(self) -> None:
        self._close_connection()
        if self._listener.fileno() < 0:
            return
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._directory.remove(_CONSOLE)

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._loop.unwatch(self._connection.fileno())
            self._connection.close()
            self._connection = None


class Directory:
    """A bundle's or exec's directory, held open.

    sun_path has room for 107 bytes and the directory's name may need more: sockets are reached
    through the descriptor.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_DIRECTORY | os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def listen(self, name: str, kind: int) -> socket.socket:
        self.remove(name)
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(f"/proc/self/fd/{self._fd}/{name}")
        listener.listen(16)
        return listener

    def path_for_others(self, name: str) -> str:
        direct = f"{self.path}/{name}"
        if len(os.fsencode(direct)) < 100:
            return direct
        return f"/proc/{os.getpid()}/fd/{self._fd}/{name}"

    def read(self, name: str) -> str:
        """The file's text; "" if there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return ""
        with open(fd, encoding="utf-8", errors="replace") as file:
            return file.read()

    def replace(self, name: str, text: str) -> None:
        """Written whole or not at all."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(f"{name}.new", flags, 0o600, dir_fd=self._fd)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{name}.new", name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)


def remove_tree(path: str) -> None:
    """shutil.rmtree for directories of our own; that module brings hundreds of kB."""
    for directory, _, names in os.walk(path, topdown=False):
        for name in names:
            os.unlink(f"{directory}/{name}")  # noqa: PTH108 - no pathlib in monitors
        os.rmdir(directory)  # noqa: PTH106
