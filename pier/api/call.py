"""One API call, as a route sees it: the engine, the version spoken, and what was asked.

Reading parameters has Docker's rules: a flag is true for anything but a few words, a body must
be JSON and nothing behind it, filters come in two encodings.
"""

import asyncio
import inspect
import re
import time
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, TypeVar

from aiohttp import web

from pier.api.hijack import BodyTooLarge
from pier.api.schema import decode
from pier.api.schema.filters import Filters, parse_filters
from pier.api.versions import ApiVersion
from pier.errors import InvalidArgument, NotSupported

T = TypeVar("T")

# The engine is composed above us at run time and its parts are typed where they are written; the
# API is its translator and makes plain calls only.
Engine = Any

MAX_BODY = 16 * 1024 * 1024
BODY_S = 300.0
"""How long a body of JSON may take; archives have their own measure (api/transfers.py)."""
_FALSE = ("", "0", "no", "false", "none")
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")


class UnsupportedContentType(InvalidArgument):
    def __init__(self, given: str) -> None:
        super().__init__(f"unsupported Content-Type header ({given}): must be 'application/json'")


class BodyTooSlow(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(f"the request's body was not there after {BODY_S:.0f} seconds")


@dataclass(frozen=True, slots=True)
class Call:
    request: web.Request
    engine: Engine
    version: ApiVersion
    path: Mapping[str, str]
    """The variables in the path, decoded."""

    @property
    def name(self) -> str:
        return self.path["name"]

    @property
    def now_ns(self) -> int:
        return time.time_ns()

    def text(self, key: str, default: str = "") -> str:
        return self.request.query.get(key, default)

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self.request.query.getall(key, ()))

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self.request.query.get(key)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, key: str, default: int = 0) -> int:
        value = self.text(key).strip()
        if not value:
            return default
        if not _NUMBER.fullmatch(value):
            raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax')
        return int(value)

    def optional_number(self, key: str) -> int | None:
        return self.number(key) if self.text(key).strip() else None

    def filters(self, allowed: Collection[str] | None) -> Filters:
        return parse_filters(self.text("filters"), allowed)

    async def body(self, kind: type[T]) -> T:
        """The request's JSON; without a body all is as if nothing had been asked for."""
        return decode.decode_body(await self._read_json() or b"{}", kind)

    async def needed_body(self, kind: type[T]) -> T:
        """The request's JSON. Raises InvalidJson if there is none."""
        return decode.decode_body(await self._read_json(), kind)

    async def optional_body(self, kind: type[T]) -> T | None:
        """The request's JSON; None if there is no body."""
        data = await self._read_json()
        return decode.decode_body(data, kind) if data.strip() else None

    async def _read_json(self) -> bytes:
        if (self.request.content_length or 0) > MAX_BODY:
            raise BodyTooLarge
        try:
            async with asyncio.timeout(BODY_S):
                data = await self.request.read()
        except TimeoutError:
            raise BodyTooSlow from None
        except web.HTTPRequestEntityTooLarge:
            raise BodyTooLarge from None
        if data or "Content-Type" in self.request.headers:
            self._check_content_type()
        return data

    def _check_content_type(self) -> None:
        given = self.request.headers.get("Content-Type", "")
        header = EmailMessage()
        header["Content-Type"] = given or "text/plain"
        if header.get_content_type() != "application/json":
            raise UnsupportedContentType(given)

    def part(self, name: str, what: str) -> Engine:
        """A part of the engine that this build may lack. Raises NotSupported."""
        part = getattr(self.engine, name, None)
        if part is None:
            raise NotSupported(f"{what} is not supported by Pier yet")
        return part


async def settled(value: Awaitable[T] | T) -> T:
    """The engine's answer, whether its method is a coroutine or a plain function."""
    if inspect.isawaitable(value):
        return await value
    return value
