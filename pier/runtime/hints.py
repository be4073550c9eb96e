"""What the spawner and the monitors use of `typing`, which would cost each of them memory.

The spawner puts this module in its place: of hints nothing is needed there but their names.
"""

from collections import namedtuple

Any = object
Protocol = object
NoReturn = None
_NOT_COPIED = ("__annotations__", "__classcell__", "__qualname__")


class _Record(type):
    """Makes a class statement a namedtuple; its methods and properties stay."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
        fields = dict(body.get("__annotations__", {}))  # type: ignore[call-overload]  # a class's
        defaults = [body[field] for field in fields if field in body]
        made = namedtuple(name, fields, defaults=defaults)  # type: ignore[misc]
        for key, value in body.items():
            if key not in fields and key not in _NOT_COPIED:
                setattr(made, key, value)
        return made


NamedTuple = type.__new__(_Record, "NamedTuple", (), {})
