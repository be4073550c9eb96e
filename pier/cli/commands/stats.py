"""`pier stats`: what containers use, once or as it changes."""

from __future__ import annotations

import sys

from pier.cli.client import json_stream, quote
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.filters import encode_filters
from pier.cli.output import Field, listing
from pier.cli.units import format_binary_size, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pier.cli.client import Client
    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

    Sample = dict[str, Any]  # the API's stats

DEFAULT = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
CLEAR = "\x1b[H"
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"
PERIOD_S = 0.5


class Usage:
    """The figures of one container at one moment; `known` is False before the first sample."""

    __slots__ = (
        "container", "cpu", "known", "limit", "memory", "name", "pids", "read", "received",
        "sent", "short", "written",
    )  # fmt: skip

    def __init__(self, container: str) -> None:
        self.container = container
        self.known = False
        self.name = self.short = ""
        self.cpu = 0.0
        self.memory = self.limit = 0
        self.received = self.sent = self.read = self.written = self.pids = 0

    def take(self, sample: Sample) -> None:
        """Take over a sample."""
        self.known = True
        self.name = sample.get("name", "").removeprefix("/")
        self.short = sample.get("id", "")
        self.cpu = cpu_percent(sample)
        memory = sample.get("memory_stats") or {}
        self.memory, self.limit = memory_used(memory), memory.get("limit", 0)
        networks = (sample.get("networks") or {}).values()
        self.received = sum(network.get("rx_bytes", 0) for network in networks)
        self.sent = sum(network.get("tx_bytes", 0) for network in networks)
        blocks = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
        self.read = sum(b["value"] for b in blocks if b.get("op", "").lower() == "read")
        self.written = sum(b["value"] for b in blocks if b.get("op", "").lower() == "write")
        self.pids = (sample.get("pids_stats") or {}).get("current", 0)


def cpu_percent(sample: Sample) -> float:
    """Return the CPU time used since the last sample, 100 for one CPU fully used."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus", 0) or len((now.get("cpu_usage") or {}).get("percpu_usage") or ())
    return used / system * cpus * 100.0 if system > 0 and used > 0 else 0.0


def _total(cpu: Sample) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage", 0))


def memory_used(memory: Sample) -> int:
    """Return the bytes in use without the page cache that could go: cgroups v1, then v2."""
    usage = int(memory.get("usage", 0))
    stats = memory.get("stats") or {}
    for key in ("total_inactive_file", "inactive_file"):
        if key in stats:
            return usage - stats[key] if stats[key] < usage else usage
    return usage


def _memory(usage: Usage) -> str:
    if not usage.known:
        return "-- / --"
    return f"{format_binary_size(usage.memory)} / {format_binary_size(usage.limit)}"


def _memory_percent(usage: Usage) -> str:
    if not usage.known:
        return "--"
    return f"{usage.memory / usage.limit * 100 if usage.limit else 0:.2f}%"


def _io(first: int, second: int, *, known: bool) -> str:
    return f"{format_size(first, 3)} / {format_size(second, 3)}" if known else "--"


def _fields(*, trunc: bool) -> dict[str, Field]:
    return {
        "Container": Field("CONTAINER", lambda usage: usage.container),
        "Name": Field("NAME", lambda usage: usage.name or "--"),
        "ID": Field("CONTAINER ID", lambda usage: usage.short[:12] if trunc else usage.short),
        "CPUPerc": Field("CPU %", lambda usage: f"{usage.cpu:.2f}%" if usage.known else "--"),
        "MemUsage": Field("MEM USAGE / LIMIT", _memory),
        "MemPerc": Field("MEM %", _memory_percent),
        "NetIO": Field("NET I/O", lambda u: _io(u.received, u.sent, known=u.known)),
        "BlockIO": Field("BLOCK I/O", lambda u: _io(u.read, u.written, known=u.known)),
        "PIDs": Field("PIDS", lambda usage: str(usage.pids) if usage.known else "--"),
    }


def stats(session: Session, options: Options, names: list[str]) -> int:
    form = options.text("format") or session.settings.text("statsFormat")
    watched = Watched(session.client, names, everything=options.on("all"))
    fields = _fields(trunc=not options.on("no-trunc"))
    if options.on("no-stream"):
        rows, problems = watched.once()
        if rows or not problems:
            sys.stdout.write(listing(rows, fields, DEFAULT, form))
            sys.stdout.flush()
        if problems:
            raise Fault("\n".join(problems))
        return 0
    watched.follow()
    return _redraw(watched, fields, form)


def _redraw(watched: Watched, fields: dict[str, Field], form: str) -> int:
    import time

    while True:
        text = listing(watched.rows(), fields, DEFAULT, form)
        if form in ("", "table") or form.startswith("table "):
            text = CLEAR + text.replace("\n", CLEAR_LINE + "\n") + CLEAR_BELOW
        sys.stdout.write(text)
        sys.stdout.flush()
        if watched.problems:
            raise Fault("\n".join(watched.problems))
        if watched.ended():
            return 0
        time.sleep(PERIOD_S)


class Watched:
    """The containers looked at: those named, or all that run, or all there are."""

    def __init__(self, client: Client, names: Sequence[str], *, everything: bool) -> None:
        self._client = client
        self._names = list(names)
        self._all = everything
        self._usages: dict[str, Usage] = {}
        self._ended = False
        self.problems: list[str] = []

    def _found(self) -> list[str]:
        if self._names:
            return self._names
        rows = self._client.get("/containers/json", {"all": self._all}) or []
        return [row["Id"][:12] for row in rows]

    def once(self) -> tuple[list[Usage], list[str]]:
        """Sample every container once, side by side, and return figures and problems."""
        import threading

        usages = [Usage(name) for name in self._found()]
        problems: list[str] = []

        def sample(usage: Usage) -> None:
            try:
                usage.take(self._get(usage.container))
            except Fault as fault:
                problems.append(fault.text)

        threads = [threading.Thread(target=sample, args=(usage,)) for usage in usages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [usage for usage in usages if usage.known], problems

    def _get(self, name: str) -> Sample:
        client = self._client.sibling()
        sample = client.get(f"/containers/{quote(name)}/stats", {"stream": "0"})
        return sample if isinstance(sample, dict) else {}

    def follow(self) -> None:
        """Start following the containers, and those that are yet to start if none is named."""
        import threading

        for name in self._found():
            self._watch(name)
        if not self._names:
            threading.Thread(target=self._watch_events, daemon=True).start()

    def _watch(self, name: str) -> None:
        import threading

        if name not in self._usages:
            self._usages[name] = Usage(name)
            threading.Thread(target=self._follow_one, args=(name,), daemon=True).start()

    def _follow_one(self, name: str) -> None:
        usage = self._usages[name]
        try:
            path = f"/containers/{quote(name)}/stats"
            response = self._client.sibling().request("GET", path, {"stream": "1"})
            for sample in json_stream(response):
                usage.take(sample)
        except (Fault, OSError) as error:
            if self._names:
                self.problems.append(str(error))
        if not self._names:
            self._usages.pop(name, None)
        else:
            usage.known = False

    def _watch_events(self) -> None:
        wanted = ["type=container", "event=start", *(["event=create"] if self._all else [])]
        query = {"filters": encode_filters(wanted)}
        try:
            for event in json_stream(self._client.sibling().request("GET", "/events", query)):
                self._watch(event["Actor"]["ID"][:12])
        except (Fault, OSError) as error:
            self.problems.append(str(error))
        self._ended = True

    def rows(self) -> list[Row]:
        return list(self._usages.values())

    def ended(self) -> bool:
        """Whether nothing can change any more: all that was named is gone, or the daemon is."""
        return self._ended or (bool(self._names) and not self._usages)


COMMANDS = {
    "container stats": Command(
        stats,
        "[OPTIONS] [CONTAINER...]",
        "Show what containers use, as it changes",
        (0, -1),
        (
            Flag("all,a", "bool", "Show stopped containers too"),
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("no-stream", "bool", "Show it once"),
            Flag("no-trunc", "bool", "Show everything in full"),
        ),
        aliases="pier container stats, pier stats",
    )
}
