"""The process that forks monitors: everything they need is loaded once and shared by all.

Run as `python -I -S spawner.py`, with the daemon's SEQPACKET socket as descriptor 0. It serves
one request at a time and ends when the daemon closes the socket; monitors do not notice.
Requests: {"op": "launch", "order": {..}} with the monitor's control socket,
{"op": "host"} with the socket from which a host of execs takes the same requests, and
{"op": "run", "argv": [..], "hide_v2": bool} with reply socket, stdout and stderr.
"""

import contextlib
import gc
import os
import signal
import socket
import sys

if __name__ == "__main__":
    # -I and -S leave neither the working directory nor site-packages; put the package there.
    sys.path.insert(0, __file__.rpartition("/pier/")[0])
    from pier.runtime import hints

    sys.modules["typing"] = hints

from pier.linux import syscalls
from pier.runtime import exec_host, monitor, mounts, protocol
from pier.runtime.launcher import spawn
from pier.runtime.pools import fill_gaps
from pier.runtime.rehearsal import rehearse
from pier.runtime.stdio import ChildFds

# Monitors inherit it: setting it there would cost each of them memory.
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


def main() -> None:
    rehearse()
    daemon = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Runtimes hand it on to containers, which expect the usual one.
    os.umask(0o022)
    os.chdir("/")
    syscalls.set_process_name("pier-spawner")
    # Monitors reap themselves: nobody here wants their exit codes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    fill_gaps()
    gc.freeze()
    _serve(daemon)


def _serve(daemon: socket.socket) -> None:
    while True:
        message = protocol.receive(daemon)
        if message.ended:
            return
        try:
            pid = os.fork()
            if pid == 0:
                _child(daemon, message)
        except OSError as error:
            _refuse(message, error)
        for fd in message.fds:
            os.close(fd)


def _refuse(message: protocol.Message, error: OSError) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(message.fds[0])) as reply:
        protocol.send(reply, {"event": "failed", "error": f"fork: {error.strerror}"})


def _child(daemon: socket.socket, message: protocol.Message) -> None:
    daemon.close()
    connection = socket.socket(fileno=message.fds[0])
    if message.fields["op"] == "launch":
        monitor.main(message.fields["order"], connection)
    if message.fields["op"] == "host":
        exec_host.main(connection)
    _run(message, connection)


def _run(message: protocol.Message, reply: socket.socket) -> None:
    """A runtime's command, to its end; its output goes to the descriptors that came along."""
    code, error = 127, ""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if message.fields["hide_v2"]:
            mounts.enter_namespace("/", None, hide_v2=True)
        null = os.open(os.devnull, os.O_RDONLY)
        pid = spawn(message.fields["argv"], ChildFds(null, *message.fds[1:3]))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except OSError as failure:
        error = str(failure)
    finally:
        with contextlib.suppress(OSError):
            protocol.send(reply, {"event": "finished", "code": code, "error": error})
        os._exit(0)


if __name__ == "__main__":
    main()
