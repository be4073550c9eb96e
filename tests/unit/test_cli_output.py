import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.cli.commands.networks import natural
from pier.cli.gotime import format_rfc3339, parse_duration, parse_moment
from pier.cli.jsonlite import escape_html, format_json, parse_json, scan_all
from pier.cli.output import Field, align, ellipsis, listing, simple_pieces
from pier.cli.ports_shown import format_ports
from pier.cli.units import format_binary_size, format_size, format_span, parse_bytes, parse_nano
from pier.oci.duration import format_duration

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59, "59 seconds"),
        (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"),
        (59 * 60, "59 minutes"), (HOUR, "About an hour"), (1.6 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"), (48 * HOUR, "2 days"), (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"), (60 * DAY, "2 months"),
        (729 * DAY, "24 months"), (730 * DAY, "2 years"),
    ],
)  # fmt: skip
def test_spans_are_told_as_docker_tells_them(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


def test_sizes_are_told_and_read() -> None:
    assert format_size(1234567, 3) == "1.23MB"
    assert format_size(0, 3) == "0B"
    assert format_size(187654321, 4) == "187.7MB"
    assert format_binary_size(50_000_000) == "47.68MiB"
    assert [parse_bytes(text) for text in ("1", "1k", "1.5g", "2MiB", "3 gb")] == [
        1, 1024, 1610612736, 2 << 20, 3 << 30,
    ]  # fmt: skip
    assert parse_nano("0.5") == 500_000_000
    for text in ("", "-1", "x", "1z", "1kbb"):
        with pytest.raises(ValueError):  # noqa: PT011 - either sentence
            parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("5s", 5 * 10**9), ("1h30m", 5400 * 10**9), ("1.5ms", 1_500_000), ("-2m", -120 * 10**9)],
)
def test_durations_are_gos(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@given(st.integers(min_value=0, max_value=10**17))
def test_a_duration_survives_being_written(duration_ns: int) -> None:
    second = 10**9
    whole = duration_ns // second * second
    assert parse_duration(format_duration(whole)) == whole


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", "400"),
        ("1714558272", "1714558272"),
        ("1714558272.5", "1714558272.500000000"),
        ("2024-05-01T10:11:12Z", "1714558272.000000000"),
        ("2024-05-01T12:11:12.123456789+02:00", "1714558272.123456789"),
    ],
)
def test_moments_become_seconds(text: str, moment: str) -> None:
    assert parse_moment(text, 1000 * 10**9) == moment


def test_a_moment_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        parse_moment("yesterday", 0)


def test_timestamps_have_nine_digits() -> None:
    assert format_rfc3339(0, 5)[19:29] == ".000000005"


def test_columns_are_ten_wide_at_least_and_three_apart() -> None:
    assert align(["A\tB\tC", "a-long-cell\tb\tc"]) == (
        "A             B         C\na-long-cell   b         c\n"
    )


def test_a_column_is_as_long_as_the_lines_that_have_it() -> None:
    assert align(["a\tb", "plain", "ccccccccccccc\td"]) == (
        "a         b\nplain\nccccccccccccc   d\n"
    )


FIELDS = {
    "ID": Field("CONTAINER ID", lambda row: row["id"]),
    "Up": Field("UP", lambda row: row["up"]),
    "Label": Field("LABEL", lambda row: row["labels"], method=True),
}
ROWS = [{"id": "a1", "up": True, "labels": {"x.y-z": "<1>"}}]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("", "CONTAINER ID   UP\na1             True\n"),
        ("json", '{"ID":"a1","Up":true}\n'),
        ("{{.ID}}:{{ .Up }}", "a1:true\n"),
        (r"{{.ID}}\t{{upper .ID}}", "a1\tA1\n"),
        ('table {{.ID}}\\t{{.Label "x.y-z"}}', "CONTAINER ID   y z\na1             <1>\n"),
        ("{{json .ID}}", '"a1"\n'),
        ("{{json .}}", '{"ID":"a1","Up":true}\n'),
        ("{{if .Up}}yes{{else}}no{{end}}", "yes\n"),
    ],
)
def test_lists_have_dockers_formats(form: str, text: str) -> None:
    assert listing(ROWS, FIELDS, ("ID", "Up"), form) == text


def test_only_templates_that_do_something_need_an_engine() -> None:
    assert simple_pieces("a{{.B}}c") == [("a", "B"), ("c", "")]
    assert simple_pieces("{{.B.C}}") is None
    assert simple_pieces("{{.B") is None


def test_text_is_cut_with_an_ellipsis() -> None:
    assert ellipsis("abcdef", 4) == "abc…"
    assert ellipsis("abcd", 4) == "abcd"


def test_ports_are_shown_in_ranges() -> None:
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": port, "PublicPort": port, "Type": "tcp"}
        for port in (80, 81, 83)
    ]
    ports.append({"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"})
    ports.append({"PrivatePort": 53, "Type": "udp"})
    assert format_ports(ports) == (
        "53/udp, 0.0.0.0:80-81->80-81/tcp, 0.0.0.0:83->83/tcp, [::]:8080->80/tcp"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_survives_a_round_trip(value: object) -> None:
    assert parse_json(format_json(value)) == value
    assert parse_json(format_json(value, indent=4)) == value


def test_json_values_may_follow_each_other() -> None:
    assert list(scan_all('{"a":1}\r\n[2] 3')) == [{"a": 1}, [2], 3]
    with pytest.raises(ValueError, match="invalid JSON"):
        list(scan_all('{"a":1} }'))
    assert escape_html('"<&>"') == '"\\u003c\\u0026\\u003e"'


def test_names_are_sorted_as_people_count() -> None:
    names = ["vv", "v10", "bridge", "v2", "v-1", "v", "host"]
    assert sorted(names, key=natural) == ["bridge", "host", "v", "v-1", "v2", "v10", "vv"]


def test_the_raw_format() -> None:
    fields = {"ID": Field("ID", str), "Name": Field("NAME", lambda row: f"n{row}")}
    raw = (("id", "ID"), ("name", "Name"))
    assert (
        listing([1, 2], fields, ("ID",), "raw", raw=raw) == "id: 1\nname: n1\n\nid: 2\nname: n2\n\n"
    )
