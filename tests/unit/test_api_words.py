"""Times and states as people read them; filters; stdcopy frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api.schema.filters import Filters, parse_filters
from pier.api.schema.words import human_duration, parse_moment, state_text
from pier.api.streams import STDOUT, error_text, frame
from pier.containers.model import Container, Health, Status
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.errors import InvalidArgument
from pier.runtime.frames import Deframer

S = 1_000_000_000
DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (731 * DAY, "2 years"),
    ],
)
def test_durations_are_dockers(seconds: int, text: str) -> None:
    assert human_duration(seconds * S) == text


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [
        (State.CREATED, Status(), "Created"),
        (State.RUNNING, Status(started_ns=S), "Up 3 minutes"),
        (State.RUNNING, Status(started_ns=S, health=Health()), "Up 3 minutes (health: starting)"),
        (
            State.RUNNING,
            Status(started_ns=S, health=Health(status="unhealthy")),
            "Up 3 minutes (unhealthy)",
        ),
        (State.PAUSED, Status(started_ns=S), "Up 3 minutes (Paused)"),
        (
            State.EXITED,
            Status(started_ns=S, finished_ns=S, exit_code=137),
            "Exited (137) 3 minutes ago",
        ),
        (
            State.RESTARTING,
            Status(started_ns=S, finished_ns=180 * S, exit_code=1),
            "Restarting (1) 1 second ago",
        ),
        (State.REMOVING, Status(), "Removal In Progress"),
        (State.DEAD, Status(), "Dead"),
    ],
)
def test_states_are_dockers(state: State, status: Status, text: str) -> None:
    container = Container(
        id="a" * 64, name="a", image_id="", spec=ContainerSpec(), state=state, status=status
    )
    assert state_text(container, 181 * S) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("1700000000", 1_700_000_000 * S),
        ("1700000000.5", 1_700_000_000 * S + S // 2),
        ("1700000000.000000001", 1_700_000_000 * S + 1),
        ("10s", 90 * S),
        ("1m", 40 * S),
        ("1970-01-01T00:00:05Z", 5 * S),
        ("1970-01-01T01:00:05+01:00", 5 * S),
        ("1970-01-02", DAY * S),
    ],
)
def test_moments_are_unix_times_durations_and_dates(text: str, expected: int) -> None:
    assert parse_moment(text, 100 * S) == expected


def test_a_moment_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="failed to parse value as time or duration"):
        parse_moment("yesterday", 0)


@pytest.mark.parametrize("text", ['{"name":{"a":true,"b":true}}', '{"name":["a","b"]}'])
def test_both_encodings_of_filters_mean_the_same(text: str) -> None:
    filters = parse_filters(text, ("name",))
    assert filters.get("name") == ("a", "b")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"name":"a"}', '{"name":{"a":5}}', "5"])
def test_malformed_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        parse_filters(text, ("name",))


def test_unknown_keys_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        parse_filters('{"colour":["red"]}', ("name",))


def test_a_truth_value_must_be_one() -> None:
    assert Filters({"dangling": ("1",)}).flag("dangling", default=False)
    assert not Filters({"dangling": ("false",)}).flag("dangling", default=True)
    assert Filters({}).flag("dangling", default=True)
    for values in (("maybe",), ("true", "false")):
        with pytest.raises(InvalidArgument, match="invalid filter 'dangling="):
            Filters({"dangling": values}).flag("dangling", default=True)


def test_names_match_as_patterns_and_broken_patterns_as_text() -> None:
    assert Filters({"name": ("^we",)}).matches("name", "web")
    assert not Filters({"name": ("^eb",)}).matches("name", "web")
    assert Filters({"name": ("we(",)}).matches("name", "we(b")
    assert Filters({}).matches("name", "anything")


def test_all_labels_must_match_with_their_values_if_given() -> None:
    labels = {"a": "1", "b": ""}
    assert Filters({"label": ("a", "b=")}).labels(labels)
    assert not Filters({"label": ("a", "c")}).labels(labels)
    assert not Filters({"label": ("a=2",)}).labels(labels)


def test_a_frame_is_eight_bytes_and_the_payload() -> None:
    assert frame(STDOUT, b"hi") == b"\x01\0\0\0\0\0\0\x02hi"
    assert error_text("no", mux=True) == frame(STDOUT, b"no\r\n")
    assert error_text("no", mux=False) == b"no\r\n"


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=50))), st.integers(1, 9))
def test_frames_come_back_however_they_were_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in frames)
    deframer = Deframer()
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(data), size):
        found += deframer.feed(data[start : start + size])
    assert found == frames
