"""`pier update`: other limits for containers that exist."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.each import for_each
from pier.cli.faults import Fault
from pier.cli.session import out
from pier.cli.values.policies import parse_restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

_FIELDS = {
    "blkio-weight": "BlkioWeight",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "cpu-shares": "CpuShares",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "kernel-memory": "KernelMemory",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpus": "NanoCpus",
}


def update(session: Session, options: Options, names: list[str]) -> int:
    if not options.given:
        raise Fault("you must provide one or more flags when using this command")
    body: dict[str, Any] = {
        key: options.values[flag] for flag, key in _FIELDS.items() if options.values[flag]
    }
    if "pids-limit" in options.given:
        body["PidsLimit"] = options.number("pids-limit")
    if options.text("restart"):
        try:
            body["RestartPolicy"] = parse_restart(options.text("restart"))
        except ValueError as error:
            raise Fault(str(error)) from error
    warnings: list[str] = []

    def update_one(name: str) -> None:
        answer = session.client.post(f"/containers/{quote(name)}/update", None, body)
        warnings.extend(answer.get("Warnings") or ())

    failed = for_each(names, update_one)
    if warnings:
        out("\n".join(warnings))
    return failed


COMMANDS = {
    "container update": Command(
        update,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Change the limits of containers",
        (1, -1),
        (
            Flag("blkio-weight", "uint16", "Relative weight for block devices, 10 to 1000"),
            Flag("cpu-period", "int", "Period of the CFS quota in microseconds"),
            Flag("cpu-quota", "int", "CFS quota in microseconds"),
            Flag("cpu-rt-period", "int", "Period of the real-time quota in microseconds"),
            Flag("cpu-rt-runtime", "int", "Real-time quota in microseconds"),
            Flag("cpu-shares,c", "int", "Relative weight for the CPU"),
            Flag("cpus", "decimal", "Number of CPUs"),
            Flag("cpuset-cpus", "string", "CPUs it may run on (0-3, 0,1)"),
            Flag("cpuset-mems", "string", "Memory nodes it may use (0-3, 0,1)"),
            Flag("kernel-memory", "bytes", "Limit of kernel memory", hidden=True),
            Flag("memory,m", "bytes", "Limit of memory"),
            Flag("memory-reservation", "bytes", "Soft limit of memory"),
            Flag("memory-swap", "swap", "Limit of memory and swap, -1 for no limit of swap"),
            Flag("pids-limit", "int", "Limit of processes, -1 for none"),
            Flag("restart", "string", "When to restart it"),
        ),
        aliases="pier container update, pier update",
    )
}
