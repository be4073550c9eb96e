"""The daemon's life: settings, lock, engine, sockets, ready; then signals until told to stop.

The order matters. The lock is taken before anything is touched, the engine has restored what a
crash left before the first request is served, and readiness is told last. Containers do not end
with the daemon: their monitors go on without it. They are stopped when the machine goes down, as
nobody else would: each would have the init system wait for its process, and then kill it.
"""

import asyncio
import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from typing_extensions import override

from pier.api.app import create_app, minimum_version
from pier.api.listen import Endpoint, Listener
from pier.api.standin import StandIn
from pier.daemon import flags, listeners, systemd
from pier.daemon.housekeeping import Trimming
from pier.engine.engine import Engine
from pier.errors import PierError
from pier.linux import memory
from pier.settings import InvalidSettings, Settings, load

log = logging.getLogger("pier.daemon")

THREADS = 64
"""For short work on the daemon's own files; what others can hold up has a `Bulkhead`."""
_LEVELS = {"warn": "WARNING", "fatal": "CRITICAL"}


class AlreadyRunning(InvalidSettings):
    def __init__(self, path: Path) -> None:
        super().__init__(f"another daemon uses {path}: give this one its own data and exec root")


def main(argv: Sequence[str]) -> int:
    """`pier daemon`. Returns the exit status."""
    memory.use_one_arena()
    try:
        arguments = flags.parse(argv)
        settings = load(arguments.settings, arguments.config_file, drop_in=arguments.drop_in)
        if arguments.validate:
            sys.stdout.write("configuration OK\n")
            return 0
        _set_up_logging(settings)
        os.umask(0o022)  # modes are meant as they are written, whoever starts us
        for key in settings.without_effect:
            log.warning("the setting %s has no effect in Pier (see docs/compatibility.md)", key)
        with _locked(settings), _pid_file(settings):
            asyncio.run(_serve(settings, arguments))
    except PierError as error:
        sys.stderr.write(f"pier daemon: {error}\n")
        return 1
    except BaseExceptionGroup as group:
        if not (known := group.subgroup(PierError)):
            raise
        sys.stderr.write(f"pier daemon: {known.exceptions[0]}\n")
        return 1
    except OSError as error:
        log.debug("start failed", exc_info=True)
        sys.stderr.write(f"pier daemon: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings, arguments: flags.Arguments) -> None:
    stop = asyncio.Event()
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pier")
    asyncio.get_running_loop().set_default_executor(threads)
    _on_signals(stop)
    opened = listeners.open_listeners(settings)  # who comes early waits in the backlog
    try:
        async with Engine.open(settings) as engine:
            await _answer(engine, opened, arguments, stop)
            if await systemd.machine_stops():
                log.info("the machine goes down; stopping containers")
                await engine.containers.stop_all(engine.settings.shutdown_timeout)
    finally:
        listeners.close(opened)


async def _answer(
    engine: Engine,
    opened: list[listeners.Listener],
    arguments: flags.Arguments,
    stop: asyncio.Event,
) -> None:
    memory.trim()
    trimming = Trimming()
    http = Listener(create_app(engine), trimming.worked)
    try:
        await http.open([Endpoint(listener.sock, listener.tls) for listener in opened])
        for listener in opened:
            log.info("API listens on %s", listener.address)
        _on_reload(engine, arguments)
        systemd.notify("READY=1")
        with closing(await _stand_in(engine, opened, http)):
            await stop.wait()
        log.info("stopping")
        systemd.notify("STOPPING=1")
    finally:
        await engine.builder.close()  # a build would be waited for
        await http.close()
        trimming.close()


async def _stand_in(engine: Engine, opened: list[listeners.Listener], http: Listener) -> StandIn:
    """Whoever answers while the loop is stuck; started."""
    sockets = [each.sock for each in opened if each.sock.family == socket.AF_UNIX]
    facts, minimum = await engine.facts(), minimum_version(engine)
    stand_in = StandIn(engine, facts, minimum, sockets, http.adopt)
    stand_in.start()
    return stand_in


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _on_reload(engine: Engine, arguments: flags.Arguments) -> None:
    def reload() -> None:
        try:
            engine.reload(
                load(arguments.settings, arguments.config_file, drop_in=arguments.drop_in)
            )
        except PierError as error:
            log.error("settings not reloaded: %s", error)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Both roots are one daemon's at a time; the kernel frees the locks however it ends.

    Nobody else looks into the data root; through the exec root the group finds the API's socket.
    """
    with contextlib.ExitStack() as stack:
        for root, mode in ((settings.paths.data_root, 0o710), (settings.paths.exec_root, 0o711)):
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(mode)
            fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(root) from None
        yield


@contextlib.contextmanager
def _pid_file(settings: Settings) -> Iterator[None]:
    if not settings.pidfile:
        yield
        return
    path = Path(settings.pidfile)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class _JsonFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _set_up_logging(settings: Settings) -> None:
    level = "debug" if settings.debug else settings.log_level
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    try:
        logging.basicConfig(level=_LEVELS.get(level, level.upper()), handlers=[handler])
    except ValueError:
        raise InvalidSettings(f"invalid logging level: {settings.log_level}") from None
