"""How many descriptors this process may have: setrlimit(2), RLIMIT_NOFILE."""

import os
import resource

_RESERVE = 128
_SHARE = 4
"""Where there are very few, one in so many is kept."""


def raise_limit() -> None:
    """As many as the hard limit allows. Processes started from now on inherit that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def scarce() -> bool:
    """Whether the last ones should be kept for serving clients and cleaning up."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest_free = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(lowest_free)
    return lowest_free >= limit - min(_RESERVE, limit // _SHARE)
