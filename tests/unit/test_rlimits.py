"""--ulimit: checked, merged with the daemon's, lowered where the daemon may not grant it."""

import pytest

from pier.containers.rlimits import InvalidUlimit, check, clamp, merge, rlimits_to_oci
from pier.containers.spec import Ulimit


def limit(soft: int, hard: int, name: str = "nofile") -> Ulimit:
    return Ulimit(name=name, soft=soft, hard=hard)


def test_a_daemon_without_the_right_lowers_and_says_so() -> None:
    clamped, warnings = clamp(
        (limit(2000, 3000), limit(-1, -1, "core"), limit(-1, -1, "nproc")),
        hard_limits={"nofile": 1000, "nproc": 50},
        raises_limits=False,
    )
    assert clamped == (limit(1000, 1000), limit(-1, -1, "core"), limit(50, 50, "nproc"))
    assert len(warnings) == 2
    assert "nofile=2000:3000" in warnings[0]


def test_a_daemon_with_the_right_grants_all() -> None:
    asked = (limit(2000, 3000),)
    assert clamp(asked, hard_limits={"nofile": 1}, raises_limits=True) == (asked, [])


@pytest.mark.parametrize("wrong", [limit(2, 1), limit(-1, 5), limit(1, 1, "shoes")])
def test_wrong_limits_are_refused(wrong: Ulimit) -> None:
    with pytest.raises(InvalidUlimit):
        check(wrong)


def test_the_daemons_defaults_are_replaced_by_name() -> None:
    assert merge((limit(1, 2),), (limit(5, 6), limit(7, 8, "core"))) == (
        limit(1, 2),
        limit(7, 8, "core"),
    )


def test_unlimited_is_the_kernels_infinity() -> None:
    assert rlimits_to_oci((limit(1, -1),)) == [
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2**64 - 1}
    ]
