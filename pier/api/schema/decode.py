"""Request bodies, read as Go reads them.

Go's decoder ignores the case of keys, takes `null` for "not given", and ignores what it does not
know; clients rely on all three. So a body is read as plain JSON, its keys are folded onto the
names of the Struct that is wanted, and msgspec checks the types and names the place of an error.
"""

import functools
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from pier.api.schema.json_words import syntax_words, type_words
from pier.errors import InvalidArgument

T = TypeVar("T")

# JSON whose shape is not yet known.
Json = Any

_DEEPEST = 64


class InvalidJson(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"invalid JSON: {why}")


def decode_body(data: bytes, kind: type[T]) -> T:
    """Raises InvalidArgument, with the place of what is wrong."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        if "trailing" in str(error):
            raise InvalidArgument("unexpected content after JSON") from None
        raise InvalidJson(syntax_words(data) or str(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidJson(error.reason) from None
    except RecursionError:
        raise InvalidJson("nested too deeply") from None
    if value is None:
        value = {}
    if b"\\u0000" in data:
        _check_nul(value)
    return convert(value, kind)


def _check_nul(value: Json) -> None:
    """No name, path, argument or label can have one: the kernel would read the text to there."""
    pending = [value]
    while pending:
        match pending.pop():
            case str() as text if "\0" in text:
                raise InvalidJson("a string with a NUL")
            case list() as items:
                pending += items
            case dict() as items:
                pending += [*items.keys(), *items.values()]


def convert(value: Json, kind: type[T]) -> T:
    """A JSON value as `kind`. Raises InvalidJson."""
    described = _describe(kind)
    try:
        return msgspec.convert(fold(value, described), kind)
    except msgspec.ValidationError as error:
        raise InvalidJson(type_words(str(error), described)) from None


def _describe(kind: object) -> inspect.Type:
    assert isinstance(kind, Hashable)
    return _type_of(kind)


@functools.cache
def _type_of(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


@functools.cache
def _fields(struct: type) -> Mapping[str, inspect.Field]:
    described = _type_of(struct)
    assert isinstance(described, inspect.StructType)
    return {field.encode_name.lower(): field for field in described.fields}


def fold(value: Json, kind: inspect.Type, depth: int = 0) -> Json:
    """`value` with the keys that `kind` names written its way, and without nulls for them."""
    if depth > _DEEPEST:
        raise InvalidJson("nested too deeply")
    match kind:
        case inspect.UnionType(types=types):
            return fold(value, _choose(value, types), depth)
        case inspect.StructType(cls=struct) if isinstance(value, dict):
            return _fold_struct(value, struct, depth)
        case inspect.DictType(value_type=inner) if isinstance(value, dict):
            return {key: fold(item, inner, depth + 1) for key, item in value.items()}
        case inspect.ListType(item_type=inner) if isinstance(value, list):
            return [fold(item, inner, depth + 1) for item in value]
        case inspect.VarTupleType(item_type=inner) if isinstance(value, list):
            return [fold(item, inner, depth + 1) for item in value]
    return value


def _choose(value: Json, types: tuple[inspect.Type, ...]) -> inspect.Type:
    """The alternative of a union that a value of this JSON type can be."""
    wanted: tuple[type[inspect.Type], ...] = ()
    if isinstance(value, dict):
        wanted = (inspect.StructType, inspect.DictType)
    elif isinstance(value, list):
        wanted = (inspect.ListType, inspect.VarTupleType)
    return next((kind for kind in types if isinstance(kind, wanted)), inspect.AnyType())


def _fold_struct(value: dict[str, Json], struct: type, depth: int) -> dict[str, Json]:
    folded: dict[str, Json] = {}
    for key, item in value.items():
        field = _fields(struct).get(key.lower())
        if field is not None and item is not None:
            folded[field.encode_name] = fold(item, field.type, depth + 1)
    return folded
