"""Network namespaces. network_namespaces(7), setns(2), socket(7).

A namespace is held by a descriptor; nothing is pinned on the file system, so nothing of it is
left when the daemon and the last process inside have gone.

A socket belongs for life to the namespace its creating thread was in, so one process can serve
many containers: a short-lived thread enters the namespace, makes the socket and ends; the event
loop uses the socket from then on. Nothing is forked and the daemon never leaves the host's.
"""

import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from pier.linux import syscalls

T = TypeVar("T")

_OWN = "/proc/thread-self/ns/net"


def create(prepare: Callable[[int], T]) -> T:
    """Make a namespace and run `prepare` inside it, with a descriptor of it that is then its own.

    If `prepare` raises, the namespace is gone. Blocks for about a millisecond.
    """

    def make() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return prepare(fd)
        except BaseException:
            os.close(fd)
            raise

    return in_thread(make)


def of_process(pid: int) -> int:
    """A descriptor of the namespace `pid` is in; the caller closes it. ESRCH, ENOENT: it ended."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def run_in(fd: int, work: Callable[[], T]) -> T:
    """Run `work` in the namespace `fd`: sockets it opens and /proc/sys/net it writes are inside."""

    def enter() -> T:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
        return work()

    return in_thread(enter)


def socket_in(fd: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Open a socket that lives in the namespace `fd`."""
    return run_in(fd, lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))


def write_sysctl(name: str, value: str) -> None:
    """Set `net.…` in the namespace the calling thread is in. sysctl(8) names, dots or slashes.

    A name as sysctl(8) takes it: with dots as separators, a slash stands for a dot inside a
    part (net.ipv4.conf.eth0/100.forwarding).
    """
    swap = str.maketrans("./", "/.")
    path = (
        name if name.find("/") >= 0 and "." not in name.split("/", 1)[0] else name.translate(swap)
    )
    if ".." in path.split("/"):
        raise FileNotFoundError(name)
    fd = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, whose namespaces die with it."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
