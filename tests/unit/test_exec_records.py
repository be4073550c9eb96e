"""pier.containers.exec_records: what is remembered of execs, and for how long."""

from dataclasses import replace

import pytest

from pier.containers.exec_records import KEPT, KEPT_NS, ExecRecords, NoSuchExec
from pier.containers.requests import ExecRecord, ExecSpec

NOW = 10**18


def added(records: ExecRecords, name: str, *, started: bool = True) -> None:
    record = ExecRecord(id=name, container_id=f"of-{name}", spec=ExecSpec(cmd=("true",)))
    records.add(replace(record, started=started), {"env": ["A=b"]})


def never(_container_id: str) -> bool:
    return False


def test_an_exec_that_ended_can_be_inspected_for_some_minutes() -> None:
    records = ExecRecords()
    added(records, "early")
    added(records, "late")
    added(records, "running")
    records.end(records.get("early"), 3, NOW)
    records.end(records.get("late"), 0, NOW + KEPT_NS // 2)
    assert records.forget(NOW + KEPT_NS - 1, never) == []
    assert records.get("early").record.exit_code == 3
    assert records.get("early").process == {}  # nothing is to be run any more
    assert [r.id for r in records.forget(NOW + KEPT_NS, never)] == ["early"]
    with pytest.raises(NoSuchExec, match="No such exec instance: early"):
        records.get("early")
    assert [r.id for r in records.forget(NOW + 2 * KEPT_NS, never)] == ["late"]
    assert list(records.execs) == ["running"]


def test_only_so_many_are_remembered() -> None:
    records = ExecRecords()
    for number in range(KEPT + 10):
        added(records, str(number))
        records.end(records.get(str(number)), 0, NOW)
    assert [r.id for r in records.forget(NOW, never)] == [str(number) for number in range(10)]
    assert len(records.execs) == KEPT


def test_what_was_never_started_goes_with_its_container() -> None:
    records = ExecRecords()
    added(records, "a", started=False)
    added(records, "b", started=False)
    assert [r.id for r in records.forget(NOW, lambda container: container == "of-a")] == ["b"]
    assert list(records.execs) == ["a"]


def test_the_first_code_counts() -> None:
    """A start that fails is told by two."""
    records = ExecRecords()
    added(records, "a")
    found = records.get("a")
    records.end(found, 137, NOW)
    records.end(found, 126, NOW + 1)
    assert found.record.exit_code == 137
    assert len(records.forget(NOW + 2 * KEPT_NS, never)) == 1
