"""`pier <command>`, `pier daemon`, `pier registry`: three programs behind one name.

Only the one that is asked for is imported; the client must be quick.
"""

import os
import sys


def main() -> int:
    """Run what the command line names; return the exit code."""
    words = sys.argv[1:]
    if words[:1] == ["daemon"]:
        from pier.daemon.lean import import_aiohttp

        import_aiohttp()
        from pier.daemon.process import main as run_daemon

        return run_daemon(words[1:]) or 0
    if words[:1] == ["registry"]:
        from pier.registry.server.command import main as run_registry

        return run_registry(words[1:]) or 0
    from pier.cli.main import main as run_client

    code = run_client(words)
    sys.stderr.flush()
    # Nothing is left to clean up, and tearing down the interpreter takes milliseconds.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
