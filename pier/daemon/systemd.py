"""What systemd tells and is told: readiness (sd_notify(3)), passed sockets (sd_listen_fds(3)),
whether the machine goes down (systemctl(1), is-system-running).
"""

import os
import socket

from pier.linux.process import run

FIRST_PASSED_FD = 3
_ANSWER_S = 5.0


def notify(state: str) -> None:
    """Tell the service manager, if there is one: "READY=1", "STOPPING=1", ..."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto(state.encode(), address)


async def machine_stops() -> bool:
    """Whether this is a shutdown or reboot, not a restart of the service."""
    try:
        answer = await run(["systemctl", "is-system-running"], timeout_s=_ANSWER_S)
    except OSError:  # none here, or it does not answer
        return False
    return answer.stdout.strip() == b"stopping"


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
