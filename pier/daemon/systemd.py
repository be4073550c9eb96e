"""systemd's two small protocols: readiness (sd_notify(3)) and passed sockets (sd_listen_fds(3))."""

import os
import socket

FIRST_PASSED_FD = 3


def notify(state: str) -> None:
    """Tell the service manager, if there is one: "READY=1", "STOPPING=1", ..."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), address)


def passed_sockets() -> list[socket.socket]:
    """The listening sockets that were opened for us. They are ours from now on, and no child's."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    sockets = [socket.socket(fileno=FIRST_PASSED_FD + number) for number in range(count)]
    for sock in sockets:
        sock.set_inheritable(False)
    return sockets
