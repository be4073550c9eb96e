"""What a prune of the build cache takes: Docker's filters and caps."""

import pytest

from pier.build.pruning import MOUNT, BadCacheFilter, CacheRecord, PruneRequest, chosen

RECORDS = [
    CacheRecord(key="sha256:aa1", description="RUN a", size=10, used_ns=3),
    CacheRecord(key="sha256:bb2", parent="sha256:aa1", description="RUN b", size=20, used_ns=1),
    CacheRecord(key="sha256:cc3", description="COPY", size=30, used_ns=2, shared=True),
    CacheRecord(key="dd4", kind=MOUNT, description="cached mount /c", size=40, used_ns=4),
    CacheRecord(key="ee5", kind=MOUNT, size=50, used_ns=5, in_use=True),
]


def names(request: PruneRequest, free: int = 0) -> str:
    return "".join(record.key[-1] for record in chosen(RECORDS, request, free))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (PruneRequest(), "214"),
        (PruneRequest(everything=True), "2314"),
        (PruneRequest(everything=True, before_ns=3), "23"),
        (PruneRequest(filters={"id": "a1"}), "1"),
        (PruneRequest(filters={"parent": "sha256:aa1"}), "2"),
        (PruneRequest(filters={"type": "exec.cachemount"}), "4"),
        (PruneRequest(filters={"type": "regular", "description": "RUN a"}), "1"),
        (PruneRequest(filters={"inuse": "true"}), ""),
        (PruneRequest(filters={"inuse": "0"}), "214"),
        (PruneRequest(everything=True, filters={"shared": "true"}), "3"),
        (PruneRequest(everything=True, filters={"private": ""}), "214"),
        (PruneRequest(filters={"label": "a=b"}), ""),
        (PruneRequest(filters={"label!": "a=b"}), "214"),
    ],
)
def test_filters(request_: PruneRequest, expected: str) -> None:
    assert names(request_) == expected


@pytest.mark.parametrize(
    ("reserved", "most", "free_wanted", "free", "expected"),
    [
        (100, 0, 0, 0, "23"),
        (150, 0, 0, 0, ""),
        (0, 130, 0, 0, "2"),
        (0, 130, 60, 20, "23"),
        (0, 0, 60, 20, "23"),
        (0, 0, 60, 60, ""),
        (140, 0, 60, 0, "2"),
        (0, 0, 1000, 0, "2314"),
    ],
)
def test_caps(reserved: int, most: int, free_wanted: int, free: int, expected: str) -> None:
    request = PruneRequest(
        everything=True,
        reserved_bytes=reserved,
        max_used_bytes=most,
        min_free_bytes=free_wanted,
    )
    assert names(request, free) == expected


def test_a_filter_that_says_nothing_is_refused() -> None:
    for filters in ({"inuse": "perhaps"}, {"wild": "1"}):
        with pytest.raises(BadCacheFilter):
            names(PruneRequest(filters=filters))
