"""JSON bodies as a broken or hostile client sends them, drawn from the API's own structs.

Every field gets what its type allows and its meaning does not, now and then something of another
type. Paths are of few kinds: a bind's source that is missing is made on the host.
"""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

Body = dict[str, Any]  # JSON

WORDS = (
    "", " ", "0", "-1", "1", "x", "..", "/", "//", "/dev", "/dev/null", "/etc/hosts",
    "/proc/self/exe", "\xe9", "\u2028", "\ud800", "a" * 300, "%", "%s", "{{.}}", ":", "::", ",",
    "=", "a=b", "=b", "host", "none", "private", "shareable", "container:", "container:x",
    "bridge", "default", "local", "rw", "1.2.3.4", "1.2.3.4.5", "::1", "fe80::1%x", "ff02::1",
    "0.0.0.0", "10.99.0.1", "224.0.0.1", "10.99.0.0/16", "10.99.0.0/32", "10.99.0.0/31",
    "10.99.0.9/24", "10.99.0.0/33", "10.99.0.0/-1", "127.0.0.0/8", "224.0.0.0/4",
    "255.255.255.255/32", "169.254.0.0/16", "fd99::/64", "fd99::/127", "fd99::/128", "ff00::/8",
    "fe80::/10", "::ffff:10.99.0.0/112", "fd99::/8", "1/1", "01.2.3.4/8", "80", "80/tcp",
    "80-90/tcp", "90-80/udp", "99999/tcp", "tcp", "80/icmp", "0/tcp", "rwm", "c *:* rwm", "c 1:3",
    "always", "on-failure", "NONE", "CMD", "CMD-SHELL", "SIGKILL", "RTMAX+99", "1e9", "9" * 30,
    "64m", "no-new-privileges", "seccomp=", "seccomp={}", "label=disable", "max-size", "nofile",
    "com.docker.network.bridge.enable_icc", "com.docker.network.driver.mtu",
    "net.ipv4.ip_forward", "kernel.shmmax", "size=1", "mode=999", "type", "device", "o", "tmpfs",
    "02:42:ac:11:00:02", "ff:ff:ff:ff:ff:ff", "\U0001f4a5", "ctrl-", "ctrl-p,ctrl-q",
)  # fmt: skip
JOINTS = ("", ":", "=", ",", "/", " ")
NUMBERS = (
    -1, 0, 1, 2, 3, 255, 65535, 65536, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32, (1 << 63) - 1,
    -(1 << 63), 1 << 63, 10**30,
)  # fmt: skip
STRAY: tuple[Any, ...] = (None, {}, [], "x", 1.5, -1, True, [None], {"": None})

texts = st.one_of(
    st.sampled_from(WORDS),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINTS), st.sampled_from(WORDS)).map(
        lambda parts: parts[0] if parts[0].startswith("/") else "".join(parts)
    ),
)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """What a field of this type is given."""
    return st.one_of(*[_fitting(kind)] * 12, st.sampled_from(STRAY))


def _fitting(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StrType():
            return texts
        case inspect.IntType() | inspect.FloatType():
            return st.sampled_from(NUMBERS)
        case inspect.BoolType():
            return st.booleans()
        case inspect.UnionType(types=types):
            return st.one_of(*(_fitting(one) for one in types))
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return st.lists(st.deferred(lambda: values(item)), max_size=2)
        case inspect.DictType(value_type=item):
            return st.dictionaries(texts, st.deferred(lambda: values(item)), max_size=2)
        case inspect.StructType(cls=struct):
            return st.deferred(lambda: bodies(struct))
    return st.sampled_from(STRAY)


def bodies(struct: type, *, fields: int = 3) -> st.SearchStrategy[Body]:
    """A few fields of `struct`, so that the others do not hide what they do."""
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    named = {field.encode_name: field.type for field in described.fields}
    chosen = st.lists(st.sampled_from(sorted(named)), min_size=1, max_size=fields, unique=True)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({name: values(named[name]) for name in names})
    )


def over(base: Mapping[str, Any], struct: type) -> st.SearchStrategy[Body]:
    """`base` with odd fields in it; fields of objects in it are odd one by one, too."""
    return bodies(struct).map(lambda odd: {**base, **odd})
