"""What is wrong with a request's JSON, in the words of Go's encoding/json. Pure.

Only read after msgspec has refused the body: how wrong it is does not matter, and a long one is
not read again.
"""

import re
from collections.abc import Sequence

from msgspec import inspect

LONGEST_BYTES = 64 * 1024
"""What a few milliseconds are enough for."""

_BLANK = b" \t\r\n"
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BEGUN_NUMBER = re.compile(rb"-?((0|[1-9][0-9]*)((\.[0-9]+)?[eE][+-]?[0-9]*|\.[0-9]*)?)?")
_PLAIN = re.compile(rb"[^\"\\\x00-\x1f]*")
_ESCAPES = b'"\\/bfnrt'
_HEX = b"0123456789abcdefABCDEF"
_LITERALS = (b"true", b"false", b"null")
_PLACE = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `(.*?)`, got `(\w+)`(?: - at `\$(.*)`)?")
_KINDS = {"str": "string", "int": "number", "float": "number"}


class _Stop(Exception):
    """Raised with Go's words at the first byte that is wrong."""


def syntax_words(data: bytes) -> str:
    """Why `data` is no JSON value; "" if it is one, or too long to say."""
    if len(data) > LONGEST_BYTES:
        return ""
    try:
        _value(data, [])
    except _Stop as stop:
        return str(stop)
    return ""


def _value(data: bytes, closers: list[int]) -> None:
    """Read one value; `closers` are the brackets that are open, so that depth costs no stack."""
    at = _begin(data, 0, "looking for beginning of value")
    while True:
        match data[at : at + 1]:
            case b"{":
                at = _skip(data, at + 1)
                if data[at : at + 1] != b"}":
                    closers.append(ord("}"))
                    at = _key(data, at)
                    continue
                at += 1
            case b"[":
                at = _skip(data, at + 1)
                if data[at : at + 1] != b"]":
                    closers.append(ord("]"))
                    at = _begin(data, at, "looking for beginning of value")
                    continue
                at += 1
            case _:
                at = _scalar(data, at)
        while closers:
            at = _skip(data, at)
            if data[at : at + 1] == b",":
                at = _next(data, at + 1, closers[-1])
                break
            if _byte(data, at) != closers[-1]:
                what = "object key:value pair" if closers[-1] == ord("}") else "array element"
                raise _wrong(data, at, f"after {what}")
            closers.pop()
            at += 1
        else:
            return


def _next(data: bytes, at: int, closer: int) -> int:
    if closer == ord("}"):
        return _key(data, _skip(data, at))
    return _begin(data, at, "looking for beginning of value")


def _key(data: bytes, at: int) -> int:
    """Where the value begins whose key is at `at`."""
    if _byte(data, at) != ord('"'):
        raise _wrong(data, at, "looking for beginning of object key string")
    at = _skip(data, _string(data, at))
    if _byte(data, at) != ord(":"):
        raise _wrong(data, at, "after object key")
    return _begin(data, at + 1, "looking for beginning of value")


def _begin(data: bytes, at: int, context: str) -> int:
    at = _skip(data, at)
    if _byte(data, at) not in b'{["-0123456789tfn':
        raise _wrong(data, at, context)
    return at


def _scalar(data: bytes, at: int) -> int:
    first = data[at : at + 1]
    if first == b'"':
        return _string(data, at)
    literal = next((word for word in _LITERALS if word[:1] == first), b"")
    for offset, expected in enumerate(literal):
        if _byte(data, at + offset) != expected:
            context = f"in literal {literal.decode()} (expecting {chr(expected)!r})"
            raise _wrong(data, at + offset, context)
    return at + len(literal) if literal else _number(data, at)


def _number(data: bytes, at: int) -> int:
    begun = _BEGUN_NUMBER.match(data, at)
    whole = _NUMBER.match(data, at)
    end = begun.end() if begun else at
    if whole and whole.end() == end:
        return end
    before = data[end - 1 : end]
    if before == b".":
        raise _wrong(data, end, "after decimal point in numeric literal")
    exponent = before in (b"e", b"E", b"+") or (before == b"-" and end - at > 1)
    raise _wrong(data, end, "in exponent of numeric literal" if exponent else "in numeric literal")


def _string(data: bytes, at: int) -> int:
    """The place behind the string that begins at `at`."""
    at += 1
    while True:
        plain = _PLAIN.match(data, at)
        at = plain.end() if plain else at
        match _byte(data, at):
            case 0x22:
                return at + 1
            case 0x5C:
                at = _escape(data, at + 1)
            case _:
                raise _wrong(data, at, "in string literal")


def _escape(data: bytes, at: int) -> int:
    if _byte(data, at) in _ESCAPES:
        return at + 1
    if data[at : at + 1] != b"u":
        raise _wrong(data, at, "in string escape code")
    for digit in range(at + 1, at + 5):
        if _byte(data, digit) not in _HEX:
            raise _wrong(data, digit, r"in \u hexadecimal character escape")
    return at + 5


def _skip(data: bytes, at: int) -> int:
    while data[at : at + 1] and data[at] in _BLANK:
        at += 1
    return at


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise _Stop(
            "unexpected EOF" if data.strip(_BLANK) else "got EOF while reading request body"
        )
    return data[at]


def _wrong(data: bytes, at: int, context: str) -> _Stop:
    char = chr(_byte(data, at))
    quoted = {"'": r"'\''", '"': "'\"'"}.get(char) or repr(char)
    return _Stop(f"invalid character {quoted} {context}")


def type_words(error: str, kind: inspect.Type) -> str:
    """Msgspec's sentence about a value of the wrong type, in a body of `kind`, as Go has it."""
    found = _EXPECTED.fullmatch(error)
    if found is None:
        return error
    _, got, path = found.groups()
    steps = [name or index for name, index in _PLACE.findall(path or "")]
    value = _KINDS.get(got, got)
    wanted = _go_type(_at(kind, steps))
    if not steps:
        return f"json: cannot unmarshal {value} into Go value of type {wanted}"
    owner = _go_type(kind).rpartition(".")[2]
    place = ".".join((owner, *steps))
    return f"json: cannot unmarshal {value} into Go struct field {place} of type {wanted}"


def _at(kind: inspect.Type, steps: Sequence[str]) -> inspect.Type:
    for step in steps:
        match _given(kind):
            case inspect.StructType(fields=fields):
                kind = next(field.type for field in fields if field.encode_name == step)
            case inspect.DictType(value_type=inner) | inspect.ListType(item_type=inner):
                kind = inner
            case inspect.VarTupleType(item_type=inner):
                kind = inner
            case inspect.TupleType(item_types=items):
                kind = items[int(step)]
    return kind


def _given(kind: inspect.Type) -> inspect.Type:
    """The alternative that is not null."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    others = [item for item in kind.types if not isinstance(item, inspect.NoneType)]
    lists = [item for item in others if isinstance(item, inspect.ListType)]
    return (lists or others or [kind])[0]


def _go_type(kind: inspect.Type) -> str:
    match _given(kind):
        case inspect.StrType():
            return "string"
        case inspect.BoolType():
            return "bool"
        case inspect.FloatType():
            return "float64"
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            return f"[]{_go_type(inner)}"
        case inspect.DictType(value_type=inner):
            return f"map[string]{_go_type(inner)}"
        case inspect.StructType(cls=struct):
            return str(getattr(struct, "GO_TYPE", struct.__name__))
    return "int64"
