"""JSON going out. What a container named with bytes that are no UTF-8 gets U+FFFD, as from Go."""

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode

Json = Any  # whatever a container made of it


def encode(value: object) -> bytes:
    """`value` as JSON: a Struct, or what JSON knows."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_printable(msgspec.to_builtins(value)))


def _printable(value: Json) -> Json:
    match value:
        case str():
            return value.encode(errors="surrogateescape").decode(errors="replace")
        case list() | tuple():
            return [_printable(item) for item in value]
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
    return value
