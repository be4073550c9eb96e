"""How many descriptors this process may have: setrlimit(2), RLIMIT_NOFILE."""

import resource


def raise_limit() -> None:
    """As many as the hard limit allows. Processes started from now on inherit that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
