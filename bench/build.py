"""A classic build that is all cache."""

import subprocess
import time
from pathlib import Path

from bench.engines import Engine, Podman

_DOCKERFILE = """FROM busybox
RUN echo 1 > /one
RUN echo 2 > /two
COPY data /data
ENV A=b
RUN cat /one /two > /three
CMD ["cat", "/three"]
"""


def make_context(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "Dockerfile").write_text(_DOCKERFILE)
    (root / "data").write_bytes(b"x" * 100_000)
    return root


class CachedBuild:
    """Builds once for the cache, then measures."""

    def __init__(self, context: Path) -> None:
        self._context = context
        self._cached: set[str] = set()

    def __call__(self, engine: Engine) -> float:
        flags = ["--layers"] if isinstance(engine, Podman) else []
        argv = engine.command("build", *flags, "-q", "-t", "bench-built", str(self._context))
        if engine.name not in self._cached:
            self._build(argv)
            self._cached.add(engine.name)
        begin = time.perf_counter()
        self._build(argv)
        return (time.perf_counter() - begin) * 1000

    def _build(self, argv: list[str]) -> None:
        subprocess.run(
            ["env", "DOCKER_BUILDKIT=0", *argv],
            check=True, capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
