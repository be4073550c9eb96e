"""The same thing done to several objects: one line for each, and 1 if any of them failed."""

from __future__ import annotations

from pier.cli.faults import Fault
from pier.cli.session import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def for_each(
    names: Iterable[str],
    act: Callable[[str], object],
    *,
    echo: bool = True,
    forgive: Callable[[Fault], bool] = lambda _fault: False,
) -> int:
    """Call `act` for every name and print the names that went well; return the exit code.

    What `forgive` accepts is told like any failure but does not count as one.
    """
    failed = False
    for name in names:
        try:
            act(name)
        except Fault as fault:
            err(fault.text)
            failed |= not forgive(fault)
            continue
        if echo:
            out(name)
    return int(failed)
