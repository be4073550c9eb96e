"""JSON in and out without importing `json`, whose own imports cost more than a `pier ps` may.

The C scanner is the one `json` uses; it only wants an object with these attributes. Where the
interpreter has no C accelerator, `json` does the work. RFC 8259.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

WHITESPACE = " \t\r\n"


class _Context:
    """What `_json.make_scanner` asks about: the settings of `json.JSONDecoder`."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the C scanner reads it from the object


def _make_scanner() -> Callable[[str, int], tuple[Any, int]]:
    context: Any = _Context()  # Any: the scanner asks for attributes, not for a decoder
    try:
        from _json import make_scanner
    except ImportError:
        from json.scanner import make_scanner
    return make_scanner(context)


def scan_all(text: str) -> Iterator[Any]:
    """Yield the values written one after another in `text`; raise ValueError if it is not JSON."""
    scan = _make_scanner()
    position = _skip(text, 0)
    while position < len(text):
        try:
            value, position = scan(text, position)
        except StopIteration as stop:
            raise ValueError(f"invalid JSON at offset {stop.value}") from None
        except SystemError:  # the C scanner finds no `json.decoder` to take its exception from
            raise ValueError(f"invalid JSON after offset {position}") from None
        yield value
        position = _skip(text, position)


def parse_json(text: str | bytes) -> Any:  # Any: JSON has no type until someone looks
    """Return the one value that `text` is; raise ValueError if it is not one."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    values = list(scan_all(text))
    if len(values) != 1:
        raise ValueError("expected one JSON value")
    return values[0]


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in WHITESPACE:
        position += 1
    return position


def format_json(value: object, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return `value` as JSON: compact, or indented as Go's `MarshalIndent` does."""
    if indent is None:
        return _compact(value, sort_keys=sort_keys)
    import json

    return json.dumps(
        value, ensure_ascii=False, separators=(",", ": "), indent=indent, sort_keys=sort_keys
    )


def _compact(value: object, *, sort_keys: bool) -> str:
    try:
        from _json import encode_basestring, make_encoder
    except ImportError:
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    encode: Any = make_encoder  # Any: its stub knows only the classes of `json`
    parts = encode({}, _refuse, encode_basestring, None, ":", ",", sort_keys, False, True)
    return "".join(parts(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"not JSON: {type(value).__name__}")


def escape_html(text: str) -> str:
    """Escape what Go's encoder escapes inside strings unless told otherwise."""
    for character in "&<>\u2028\u2029":
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def json_line(value: object) -> str:
    """Return one line of JSON as Docker's lists write it, HTML escaped."""
    return escape_html(format_json(value))
