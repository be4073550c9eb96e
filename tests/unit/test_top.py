"""ps, and which of its lines are a container's."""

import asyncio
import os

import pytest

from pier.containers.model import Container, Status
from pier.containers.requests import TopRows
from pier.containers.spec import ContainerSpec
from pier.containers.top import (
    BadPsArguments,
    NoPidField,
    container_group,
    parse_ps,
    parse_ps_arguments,
    top,
)

OUTPUT = """UID PID PPID CMD
root 1 0 init splash
root - - thread of init
anna 20 1 sh -c sleep 1
anna - - thread of sh
bert 30 1 vi
"""


def test_only_the_containers_lines_are_shown_with_their_threads() -> None:
    assert parse_ps(OUTPUT, {20, 99}) == TopRows(
        ("UID", "PID", "PPID", "CMD"),
        (("anna", "20", "1", "sh -c sleep 1"), ("anna", "-", "-", "thread of sh")),
    )


@pytest.mark.parametrize("output", ["", "UID CMD\nroot init\n"])
def test_without_a_pid_column_nothing_can_be_chosen(output: str) -> None:
    with pytest.raises(NoPidField, match="Couldn't find PID field in ps output"):
        parse_ps(output, {1})


def test_no_other_column_may_call_itself_pid() -> None:
    with pytest.raises(BadPsArguments, match='specifying "ppid=PID" is not allowed'):
        parse_ps_arguments("-o ppid=PID")
    assert parse_ps_arguments("-o pid=PID") == ["-o", "pid=PID"]
    assert parse_ps_arguments("") == ["-ef"]


def test_unmatched_quotes_are_refused() -> None:
    with pytest.raises(BadPsArguments):
        parse_ps_arguments("-o 'pid")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/pier/abc\n", "/pier/abc"),
        ("4:memory:/pier/abc/init.scope\n0::/\n", "/pier/abc"),
        ("0::/system.slice/docker-abc.scope\n", "/system.slice/docker-abc.scope"),
        ("0::/elsewhere\n", ""),
    ],
)
def test_the_group_is_found_by_the_containers_id(text: str, expected: str) -> None:
    assert container_group("abc", text) == expected


def test_a_ps_that_fails_says_why() -> None:
    container = Container(
        id="f" * 64, name="c", image_id="", spec=ContainerSpec(), status=Status(pid=os.getpid())
    )
    with pytest.raises(Exception, match="ps: "):
        asyncio.run(top(container, "--no-such-option"))
