"""The distribution protocol's headers and bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry import protocol
from pier.registry.protocol import Challenge, ErrorEntry, Span


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
            'scope="repository:library/busybox:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/busybox:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="a \\"b\\""', [Challenge("basic", {"realm": 'a "b"'})]),
        (
            'Negotiate, Basic realm=x, Bearer realm="y", error=invalid',
            [
                Challenge("negotiate"),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y", "error": "invalid"}),
            ],
        ),
        ("", []),
        ('="', []),
    ],
)
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert protocol.parse_challenges([header]) == expected


def test_a_challenge_names_its_scopes() -> None:
    challenge = Challenge("bearer", {"scope": "repository:a:pull repository:b:pull"})
    assert challenge.scopes == ("repository:a:pull", "repository:b:pull")


def test_scopes_we_ask_for_cover_those_offered() -> None:
    assert protocol.merge_scopes(
        ("repository:a:pull,push",), ("repository:a:pull", "repository:b:pull")
    ) == ("repository:a:pull,push", "repository:b:pull")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("</x>; rel=prev, </y>; title=z; rel=next", "/y"),
        ('</x>; rel="prev"', None),
        ("", None),
        ("<" * 5000, None),
    ],
)
def test_next_links_are_read(header: str, expected: str | None) -> None:
    assert protocol.parse_next_link(header) == expected


def test_error_bodies_are_read_as_docker_prints_them() -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}'
    assert protocol.parse_errors(body)[0].text() == "toomanyrequests: You have reached your limit"
    assert protocol.parse_errors(b'{"details":"incorrect username or password"}')[0].message
    assert protocol.parse_errors(b"<html>") == ()
    assert protocol.parse_errors(b"[" * 10_000) == ()
    entry = ErrorEntry("DENIED", "no", {"a": 1})
    assert protocol.parse_errors(protocol.format_errors(entry)) == (entry,)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes 0-99/1000", Span(0, 99, 1000)),
        ("bytes 5-9/*", Span(5, 9)),
        ("0-99", Span(0, 99)),
        ("9-5", None),
        ("bytes */100", None),
        ("x", None),
    ],
)
def test_content_ranges_are_read(header: str, span: Span | None) -> None:
    assert protocol.parse_content_range(header) == span


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 9, 10)),
        ("bytes=3-5", Span(3, 5, 10)),
        ("bytes=3-500", Span(3, 9, 10)),
        ("bytes=-4", Span(6, 9, 10)),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("", None),
    ],
)
def test_byte_ranges_are_read(header: str, span: Span | None) -> None:
    assert protocol.parse_byte_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-3", "bytes=-0"])
def test_a_range_outside_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        protocol.parse_byte_range(header, 10)


def test_an_upload_s_offset_survives_its_header() -> None:
    for offset in (0, 2, 1000):
        assert protocol.parse_upload_offset(protocol.format_upload_range(offset)) == offset


def test_retry_after_is_a_number_or_a_date() -> None:
    assert protocol.parse_retry_after("120", 0) == 120
    assert protocol.parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412470) == 10
    assert protocol.parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1545412470) == 0
    assert protocol.parse_retry_after("soon", 0) is None


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("library/busybox", True),
        ("a.b/c__d/e--f", True),
        ("A", False),
        ("a//b", False),
        ("../etc", False),
        ("a" * 256, False),
        ("", False),
    ],
)
def test_names(name: str, *, valid: bool) -> None:
    assert protocol.valid_name(name) is valid


@given(st.text(max_size=300))
def test_no_header_breaks_the_parsers(text: str) -> None:
    protocol.parse_challenges([text])
    protocol.parse_next_link(text)
    protocol.parse_content_range(text)
    protocol.parse_retry_after(text, 0)
    protocol.parse_errors(text.encode("utf-8", "replace"))
    protocol.valid_name(text)


def test_warnings_for_people_are_read_and_others_left() -> None:
    headers = [
        '299 - "this image goes away; take \\"new\\" instead"',
        '214 proxy "transformed"',
        '299 - "one", 299 - "two"',
        '299 - "not \x1b[31mprintable"',
        "299 - nothing",
    ]
    assert protocol.parse_warnings(headers) == [
        'this image goes away; take "new" instead',
        "one",
        "two",
    ]
