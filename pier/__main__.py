"""`pier <command>`, `pier daemon`, `pier registry`: three programs behind one name.

Only the one that is asked for is imported; the client must be quick.
"""

import sys


def main() -> int:
    """Run what the command line names; return the exit code."""
    words = sys.argv[1:]
    if words[:1] == ["daemon"]:
        from pier.daemon import main as run_daemon

        return run_daemon(words[1:]) or 0
    if words[:1] == ["registry"]:
        from pier.registry.server import main as run_registry

        return run_registry(words[1:]) or 0
    from pier.cli.main import main as run_client

    return run_client(words)


if __name__ == "__main__":
    sys.exit(main())
