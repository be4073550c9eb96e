"""pier.runtime.filters: what a runtime compiled is handed to the next start."""

import base64
from pathlib import Path
from typing import Any

import pytest

from pier.runtime.filters import Filters
from pier.runtime.orders import RuntimeInfo

ANNOTATION = "run.oci.seccomp_bpf_data"
COMPILED = bytes(range(16))


def config(**profile: object) -> dict[str, Any]:
    return {"annotations": {"a": "b"}, "linux": {"seccomp": {"defaultAction": "x", **profile}}}


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeInfo:
    compiled(tmp_path, "one", COMPILED)
    return RuntimeInfo("crun", "/usr/bin/crun", str(tmp_path), version="1.8.1")


def compiled(root: Path, container_id: str, data: bytes) -> None:
    (root / container_id).mkdir()
    (root / container_id / "seccomp.bpf").write_bytes(data)


def test_a_filter_is_learned_once_and_applied_to_the_same_profile(runtime: RuntimeInfo) -> None:
    filters = Filters()
    assert filters.apply(config(), runtime) == config()
    filters.learn(config(), runtime, "one")
    applied = filters.apply(config(), runtime)
    assert base64.b64decode(applied["annotations"][ANNOTATION]) == COMPILED
    assert applied["annotations"]["a"] == "b"
    assert applied["linux"] == config()["linux"]


def test_another_profile_or_runtime_has_another_filter(runtime: RuntimeInfo) -> None:
    filters = Filters()
    filters.learn(config(), runtime, "one")
    assert filters.apply(config(syscalls=[]), runtime) == config(syscalls=[])
    updated = runtime._replace(version="1.9")
    assert filters.apply(config(), updated) == config()


@pytest.mark.parametrize(
    "other",
    [
        {"linux": {}},
        config(listenerPath="/run/agent"),
        {**config(), "annotations": {ANNOTATION: "the user's"}},
    ],
)
def test_what_needs_no_filter_of_ours_stays_as_it_is(
    runtime: RuntimeInfo, other: dict[str, Any]
) -> None:
    filters = Filters()
    filters.learn(other, runtime, "one")
    assert filters.apply(other, runtime) == other


@pytest.mark.parametrize("data", [b"", COMPILED[:-1]])
def test_what_is_no_filter_is_not_learned(runtime: RuntimeInfo, data: bytes) -> None:
    compiled(Path(runtime.root), "broken", data)
    filters = Filters()
    filters.learn(config(), runtime, "broken")
    filters.learn(config(), runtime, "missing")
    assert filters.apply(config(), runtime) == config()


def test_old_ones_are_forgotten(runtime: RuntimeInfo) -> None:
    filters = Filters()
    for number in range(40):
        filters.learn(config(number=number), runtime, "one")
    assert filters.apply(config(number=0), runtime) == config(number=0)
    assert ANNOTATION in filters.apply(config(number=39), runtime)["annotations"]
