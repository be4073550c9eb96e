"""Containers in SQLite: one row each, found by ID, name or unique prefix.

The specs are JSON written by msgspec from the dataclasses in `spec` and `model`; nothing here
knows Docker's JSON. All calls are quick and made on the event loop's thread.
"""

import re
import sqlite3
from collections.abc import Sequence

import msgspec

from pier.containers.model import Container, MountPoint, Status
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.errors import Conflict, InvalidArgument, NotFound
from pier.store.database import Database
from pier.store.rows import RowReader

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HEX = re.compile(r"[0-9a-f]{1,64}")
_COLUMNS = "id, name, image, state, spec_json, mounts_json, status_json, created_ns"


class NoSuchContainer(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"No such container: {name}")


class NoName(InvalidArgument):
    def __init__(self) -> None:
        super().__init__('invalid name or ID supplied: ""')


class NoOtherContainer(InvalidArgument):
    """Not a NotFound: a client that creates would take it for a missing image, and pull."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such container: {name}")


class AmbiguousPrefix(InvalidArgument):
    def __init__(self, prefix: str) -> None:
        super().__init__(f"multiple IDs found with provided prefix: {prefix}")


class InvalidName(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )


class NameInUse(Conflict):
    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


def checked_name(name: str) -> str:
    """`name` without the slash Docker shows; raises InvalidName."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidName(name)
    return bare


def link_names(container: Container) -> dict[str, str]:
    """What it calls those it is linked to on the default bridge: IDs by alias."""
    if container.spec.host.network_mode != "bridge":
        return {}
    pairs = (text.partition(":") for text in container.spec.host.links)
    return {alias: other_id for other_id, _, alias in pairs}


class ContainerStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._spec = msgspec.json.Decoder(ContainerSpec)
        self._mounts = msgspec.json.Decoder(tuple[MountPoint, ...])
        self._status = msgspec.json.Decoder(Status)
        self._encode = msgspec.json.Encoder().encode
        self._rows = RowReader("container", "id", self._from_row)
        self._cache: dict[str, Container] = {}

    def add(self, container: Container) -> None:
        """Make the container exist. Raises NameInUse."""
        if holder := self.holder(container.name):
            raise NameInUse(container.name, holder)
        self._database.execute(
            f"INSERT INTO containers ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)",  # noqa: S608
            (container.id, container.name, container.image_id, *self._changing(container),
             container.created_ns),
        )  # fmt: skip
        for volume in sorted({point.name for point in container.mounts if point.kind == "volume"}):
            self._database.execute(
                "INSERT INTO container_volumes VALUES (?, ?)", (container.id, volume)
            )
        for image in sorted({point.source for point in container.mounts if point.kind == "image"}):
            self._database.execute(
                "INSERT INTO container_images VALUES (?, ?)", (container.id, image)
            )
        # Not cached yet: the caller's transaction may still fail.

    def update(self, container: Container) -> None:
        """Store what may change: state, spec, mounts, status."""
        self._database.execute(
            "UPDATE containers SET state=?, spec_json=?, mounts_json=?, status_json=? WHERE id=?",
            (*self._changing(container), container.id),
        )
        self._cache[container.id] = container

    def rename(self, container: Container, name: str) -> None:
        """Raises NameInUse."""
        if holder := self.holder(name):
            raise NameInUse(name, holder)
        self._database.execute("UPDATE containers SET name=? WHERE id=?", (name, container.id))
        self._cache.pop(container.id, None)

    def delete(self, container_id: str) -> None:
        self._database.execute("DELETE FROM containers WHERE id=?", (container_id,))
        self._cache.pop(container_id, None)

    def holder(self, name: str) -> str | None:
        """ID of the container that has this name."""
        row = self._database.execute("SELECT id FROM containers WHERE name=?", (name,)).fetchone()
        return None if row is None else str(row["id"])

    def find(self, container_id: str) -> Container | None:
        """By full ID. Raises DamagedRecord."""
        if cached := self._cache.get(container_id):
            return cached
        row = self._row(container_id)
        return None if row is None else self._rows.read(row)

    def _row(self, container_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            f"SELECT {_COLUMNS} FROM containers WHERE id=?",  # noqa: S608
            (container_id,),
        ).fetchone()
        return row

    def _readable(self, container_id: str) -> Sequence[Container]:
        """The one, or none."""
        if cached := self._cache.get(container_id):
            return (cached,)
        row = self._row(container_id)
        return () if row is None else self._rows.read_all((row,))

    def get(self, name: str) -> Container:
        """By full ID, then exact name, then unique ID prefix, as Docker looks containers up.

        Raises NoSuchContainer, AmbiguousPrefix, DamagedRecord.
        """
        found = self.find(self.id_of(name))
        if found is None:
            raise NoSuchContainer(name)
        return found

    def get_other(self, name: str) -> Container:
        """One that a new container shares something with. Raises NoOtherContainer."""
        try:
            return self.get(name)
        except NoSuchContainer:
            raise NoOtherContainer(name) from None

    def list_(self) -> list[Container]:
        """All whose records can be read, newest first."""
        return [container for id_ in self.ids() for container in self._readable(id_)]

    def known(self) -> list[Container]:
        """Those in memory, newest first. For any thread: no row is read."""
        found = tuple(self._cache.values())
        return sorted(found, key=lambda container: container.created_ns, reverse=True)

    def ids(self) -> list[str]:
        """Of all, newest first, those with a record that cannot be read among them."""
        rows = self._database.execute("SELECT id FROM containers ORDER BY created_ns DESC, id")
        return [str(row["id"]) for row in rows.fetchall()]

    def id_of(self, name: str) -> str:
        """The ID that an ID, a name, a link ("user/alias") or a prefix means, readable or not.

        Raises NoSuchContainer, NoName, AmbiguousPrefix.
        """
        if not name:
            raise NoName
        bare = name.removeprefix("/")
        exact = self._exact_id(name) or self.holder(bare) or self._linked(bare)
        found = exact or self._prefixed(name)
        if found is None:
            raise NoSuchContainer(name)
        return found

    def _exact_id(self, container_id: str) -> str | None:
        known = container_id in self._cache or self._row(container_id) is not None
        return container_id if known else None

    def _linked(self, name: str) -> str | None:
        user, slash, alias = name.rpartition("/")
        holder = self.holder(user) if slash else None
        for container in self._readable(holder) if holder else ():
            return link_names(container).get(alias)
        return None

    def _prefixed(self, prefix: str) -> str | None:
        if not _HEX.fullmatch(prefix):
            return None
        rows = self._database.execute(
            "SELECT id FROM containers WHERE id GLOB ? LIMIT 2", (prefix + "*",)
        ).fetchall()
        if len(rows) > 1:
            raise AmbiguousPrefix(prefix)
        return str(rows[0]["id"]) if rows else None

    def _changing(self, container: Container) -> tuple[str, str, str, str]:
        return (
            container.state.value,
            self._encode(container.spec).decode(),
            self._encode(container.mounts).decode(),
            self._encode(container.status).decode(),
        )

    def _from_row(self, row: sqlite3.Row) -> Container:
        container = Container(
            id=row["id"],
            name=row["name"],
            image_id=row["image"],
            state=State(row["state"]),
            spec=self._spec.decode(row["spec_json"]),
            mounts=self._mounts.decode(row["mounts_json"]),
            status=self._status.decode(row["status_json"]),
            created_ns=row["created_ns"],
        )
        self._cache[container.id] = container
        return container
