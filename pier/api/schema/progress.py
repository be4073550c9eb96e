"""The messages of pull, push, load and build: JSON objects in a row. Pure.

Clients read `errorDetail`; `error` and `progress` are kept for old ones.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType, field


class ProgressStep(Protocol):
    """One step, as pulls, loads and builds report it (`pier.images.transfer.Step`)."""

    @property
    def stream(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def current(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def error_code(self) -> int: ...
    @property
    def aux(self) -> Mapping[str, object] | None: ...


class ErrorDetailJson(msgspec.Struct, omit_defaults=True):
    code: int = 0
    message: str = ""


class ProgressDetailJson(msgspec.Struct, omit_defaults=True):
    current: int = 0
    total: int = 0


class MessageJson(msgspec.Struct, kw_only=True):
    stream: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    progress_detail: ProgressDetailJson | UnsetType = field(default=UNSET, name="progressDetail")
    progress: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    error_detail: ErrorDetailJson | UnsetType = field(default=UNSET, name="errorDetail")
    error: str | UnsetType = UNSET
    aux: Mapping[str, object] | UnsetType = UNSET


def message_json(event: ProgressStep) -> MessageJson:
    """One step; with a status, and an ID or a size, there is a progressDetail, as in Docker."""
    message = MessageJson(
        stream=event.stream or UNSET,
        status=event.status or UNSET,
        id=event.id or UNSET,
        aux=UNSET if event.aux is None else event.aux,
    )
    if event.error:
        message.error = event.error
        message.error_detail = ErrorDetailJson(event.error_code, event.error)
    elif event.status and (event.id or event.total):
        message.progress_detail = ProgressDetailJson(event.current, event.total)
    if event.current:
        message.progress = progress_bar(event.current, event.total)
    return message


_BAR = 50


def progress_bar(current: int, total: int) -> str:
    """The bar old clients print as they get it."""
    if total <= 0 or current > total:
        return f"{human_size(current):>8}"
    done = current * 100 // total * _BAR // 100
    bar = f"{'=' * done}>{' ' * (_BAR - done)}"
    return f"[{bar}] {human_size(current):>8}/{human_size(total)}"


def human_size(size: float) -> str:
    """Docker's size with four digits: "1.234MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.4g}{unit}"
