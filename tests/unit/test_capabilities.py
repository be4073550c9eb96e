"""Docker's rules for adding and dropping capabilities."""

import pytest

from pier.containers.capabilities import DEFAULT, KERNEL, UnknownCapability, capabilities

KNOWN = KERNEL[:-1]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), DEFAULT),
        (("net_admin",), ("CAP_CHOWN",), (DEFAULT | {"CAP_NET_ADMIN"}) - {"CAP_CHOWN"}),
        (("ALL",), ("sys_admin",), set(KNOWN) - {"CAP_SYS_ADMIN"}),
        (("CHOWN",), ("all",), {"CAP_CHOWN"}),
        ((), ("ALL",), set()),
    ],
)
def test_what_a_container_holds(
    add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]
) -> None:
    assert set(capabilities(add, drop, privileged=False, known=KNOWN)) == expected


def test_a_privileged_container_holds_all_this_machine_has() -> None:
    assert capabilities((), ("ALL",), privileged=True, known=KNOWN) == KNOWN


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownCapability) as refused:
        capabilities(("wings",), (), privileged=False, known=KNOWN)
    assert str(refused.value) == 'invalid CapAdd: unknown capability: "CAP_WINGS"'
