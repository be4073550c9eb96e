"""A container's bundle on disk (OCI runtime spec, bundle.md): config.json and an empty rootfs."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


def write_bundle(directory: Path, config: Mapping[str, Any]) -> None:
    """Make `directory` (0700) with config.json and rootfs/; what an earlier run left is replaced.

    config: an OCI runtime configuration, foreign JSON by nature.
    """
    remove_bundle(directory)
    directory.mkdir(mode=0o700, parents=True)
    (directory / "rootfs").mkdir(mode=0o755)
    (directory / "config.json").write_text(json.dumps(config, separators=(",", ":")))


def remove_bundle(directory: Path) -> None:
    """Twice is fine. Only after the monitor has ended: its files are here.

    It may still be taking its own away: what vanishes meanwhile is no reason to leave the rest.
    """
    shutil.rmtree(directory, onerror=_but_vanished)


def _but_vanished(
    _function: Callable[..., object],
    _path: str,
    error: tuple[type[BaseException], BaseException, TracebackType],
) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
