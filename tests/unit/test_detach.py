"""The detach sequence, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from pier.runtime.detach import DetachKeys

KEYS = b"\x10\x11"


def feed(keys: DetachKeys, *reads: bytes) -> tuple[bytes, bool]:
    passed = b""
    for data in reads:
        forward, detached = keys.feed(data)
        passed += forward
        if detached:
            return passed, True
    return passed, False


def test_the_sequence_is_found_across_reads() -> None:
    assert feed(DetachKeys(KEYS), b"abc\x10", b"\x11more") == (b"abc", True)


def test_a_beginning_that_goes_on_otherwise_passes() -> None:
    assert feed(DetachKeys(KEYS), b"\x10", b"\x10", b"x") == (b"\x10\x10x", False)


def test_what_is_held_back_comes_out_at_the_end() -> None:
    keys = DetachKeys(KEYS)
    assert feed(keys, b"a\x10") == (b"a", False)
    assert keys.end() == b"\x10"
    assert keys.end() == b""


def test_without_keys_everything_passes_at_once() -> None:
    assert feed(DetachKeys(b""), b"\x10\x11") == (b"\x10\x11", False)


@given(st.lists(st.binary(max_size=4)), st.binary(min_size=1, max_size=3))
def test_nothing_is_lost_and_cuts_do_not_matter(reads: list[bytes], sequence: bytes) -> None:
    keys = DetachKeys(sequence)
    passed, detached = feed(keys, *reads)
    whole = b"".join(reads)
    assert detached == (sequence in whole)
    assert passed + keys.end() == (whole.partition(sequence)[0])
