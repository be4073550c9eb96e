"""pier.containers.store: found as Docker finds them, named once, never half there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.containers.model import Container, MountPoint
from pier.containers.spec import ContainerSpec
from pier.containers.store import (
    AmbiguousPrefix,
    ContainerStore,
    InvalidName,
    NameInUse,
    NoName,
    NoSuchContainer,
    checked_name,
)
from pier.store.database import Database
from pier.store.rows import DamagedRecord


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ContainerStore]:
    database = Database(tmp_path / "pier.db")
    yield ContainerStore(database)
    database.close()


def container(id_: str, name: str, created_ns: int = 1) -> Container:
    spec = ContainerSpec(image="busybox", cmd=("true",))
    return Container(id=id_ * 64, name=name, image_id="i", spec=spec, created_ns=created_ns)


def test_found_by_id_name_and_unique_prefix(store: ContainerStore) -> None:
    web = container("a", "web")
    store.add(web)
    for name in (web.id, "web", "/web", "aaaa"):
        assert store.get(name) == web


def test_a_name_goes_before_a_prefix(store: ContainerStore) -> None:
    store.add(container("a", "bbb"))
    store.add(container("b", "other"))
    assert store.get("bbb").name == "bbb"


def test_an_ambiguous_prefix_is_refused(store: ContainerStore) -> None:
    store.add(container("a", "one"))
    second = container("a", "two")
    store.add(Container(id="a" * 60 + "bbbb", name="two", image_id="i", spec=second.spec))
    with pytest.raises(AmbiguousPrefix, match="multiple IDs found with provided prefix: aaa"):
        store.get("aaa")


@pytest.mark.parametrize("name", ["nosuch", "*", "a*", "%", "A" * 64])
def test_what_is_not_there(store: ContainerStore, name: str) -> None:
    store.add(container("a", "web"))
    with pytest.raises(NoSuchContainer, match="No such container"):
        store.get(name)


def test_nobody_has_no_name(store: ContainerStore) -> None:
    store.add(container("a", "web"))
    with pytest.raises(NoName, match='invalid name or ID supplied: ""'):
        store.get("")


def test_a_name_is_used_once(store: ContainerStore) -> None:
    store.add(container("a", "web"))
    with pytest.raises(NameInUse, match='The container name "/web" is already in use'):
        store.add(container("b", "web"))
    store.add(container("b", "db"))
    with pytest.raises(NameInUse):
        store.rename(store.get("db"), "web")
    store.delete("a" * 64)
    store.rename(store.get("db"), "web")
    assert store.get("web").id == "b" * 64


def test_the_newest_comes_first(store: ContainerStore) -> None:
    for number, id_ in enumerate("abc"):
        store.add(container(id_, f"c{number}", created_ns=number))
    assert [found.name for found in store.list_()] == ["c2", "c1", "c0"]


def test_all_of_it_survives_a_restart(tmp_path: Path) -> None:
    mount = MountPoint(kind="tmpfs", destination="/t", options="size=1m")
    database = Database(tmp_path / "pier.db")
    web = container("a", "web")
    kept = Container(id=web.id, name="web", image_id="i", spec=web.spec, mounts=(mount,))
    ContainerStore(database).add(kept)
    database.close()
    database = Database(tmp_path / "pier.db")
    assert ContainerStore(database).get("web") == kept
    database.close()


def test_a_row_that_cannot_be_read_is_left_out_of_the_list_and_still_known(tmp_path: Path) -> None:
    database = Database(tmp_path / "pier.db")
    ContainerStore(database).add(container("a", "web"))
    ContainerStore(database).add(container("b", "bad"))
    database.execute("UPDATE containers SET spec_json = '[]' WHERE name = 'bad'")
    store = ContainerStore(database)
    assert [found.name for found in store.list_()] == ["web"]
    assert set(store.ids()) == {"a" * 64, "b" * 64}
    for name in ("bad", "bbb", "b" * 64):
        assert store.id_of(name) == "b" * 64
        with pytest.raises(DamagedRecord, match=f"the record of container {'b' * 64} cannot be"):
            store.get(name)
    with pytest.raises(NameInUse):
        store.add(container("c", "bad"))
    database.close()


@pytest.mark.parametrize("name", ["a", "-a", "a b", "a/b", "ä1", "", "/"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidName, match="Invalid container name"):
        checked_name(name)
