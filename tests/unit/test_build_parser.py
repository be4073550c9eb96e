"""The parser beside Docker's own (the `dockerfile` package, BuildKit's parser in Go)."""

import contextlib

import dockerfile  # type: ignore[import-not-found]  # an extension without stubs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.build.instructions import Instruction
from pier.build.parser import Dockerfile, DockerfileError, Heredoc, parse_dockerfile
from pier.build.syntax import parse_instruction

SAMPLES = [
    "FROM a\nRUN echo hi \\\n  # comment\n\n  && echo  there\n",
    'FROM a\nRUN <<EOF cat - && \\\n foo <<-"B"\nhello $X\nEOF\n\tbye\n\tB\n',
    'FROM a\nCOPY --chown=1 ["a b", "c"]\nCOPY <<a <<b /x/\n1\na\n2\nb\n',
    "FROM a\nRUN echo \\\\\n  x\n",
    "FROM a\nRUN cat <<EOF>out\nx\nEOF>out\n",
    "FROM a\nRUN cat << EOF\nx\nEOF\n",
    'FROM a\nRUN echo "<<EOF" a<<EOF 3<<"E F" <<E\\F\nx\nE F\ny\nEF\nEOF\n',
    "FROM a\nRUN cat <<A <<A\n1\nA\n2\nA\n",
    "FROM a\r\nRUN echo \\\r\n b\r\n",
    '  from a\n\trun --x=\'a b\'  --y="c\\"d" -- --z q\n',
    "FROM a\nRUN <<E # c\nx\nE\n",
    "FROM a\nRUN <<-E\n\tx\n\t\tE\n",
    "FROM a\nRUN a \\\n\n\n# x\n b\\  \n c\n",
    "#syntax=x\n#escape=`\nFROM a\nRUN a`\nb\n",
    "\n#escape=`\nFROM a\nRUN a`\n",
    "# c\n#escape=`\nFROM a\nRUN a`\n",
    "FROM a\n\\\nRUN b\n",
    "FROM a\nRUN cat <<''\nq\n\n",
    "FROM a\nRUN <<'E' <<\"F\"\n$x\nE\nF\n",
    "FROM a\nCMD <<E\nx\nE\n",
    'FROM a\nRUN ["<<E"]\n',
    "FROM a\nRUN $((1<<2)) 1<<2\n2\n",
    "FROM a\nRUN echo it's <<E\nE\n",
    "\ufeffFROM a\n",
    'FROM a\nRUN --a="b\n',
    "FROM a\nRUN --a\\\n=b c\n",
    "FROM a\nRUN --",
    "FROM a\nENV A=b\\\n#c\n\n C=d\n",
    "FROM a\nRUN <<E\n  E\nE\n",
    "FROM a\nRUN echo <<E\\\n F\nq\nE\nF\n",
    "FROM a\nRUN cat <<$X\na\n$X\n",
    "#!/bin/x\n# syntax=a\nFROM b",
    "FROM a\nRUN echo \\",
    'FROM a\nLABEL a=b  "c d"="e f" x=\'y z\'\nENV K v with space\nEXPOSE 80 81/udp\n',
]


def ours(text: str) -> list[object]:
    nodes = parse_dockerfile(text.encode()).nodes
    return [
        (n.keyword, n.start_line, n.end_line, n.flags,
         tuple((h.name, h.fd, h.content) for h in n.heredocs))
        for n in nodes
    ]  # fmt: skip


def dockers(text: str) -> list[object]:
    return [
        (c.cmd.upper(), c.start_line, c.end_line, c.flags,
         tuple((h.name, h.file_descriptor, h.content) for h in c.heredocs))
        for c in dockerfile.parse_string(text)
        if c.cmd
    ]  # fmt: skip


@pytest.mark.parametrize("text", SAMPLES)
def test_lines_flags_and_heredocs_are_as_docker_reads_them(text: str) -> None:
    assert ours(text) == dockers(text)


def instructions(text: str) -> list[Instruction]:
    return [parse_instruction(node, "\\") for node in parse_dockerfile(text.encode()).nodes]


_PIECES = st.sampled_from([
    "a", "b", " ", "  ", "\t", "\\", "\\\n", "\n", "#", "# c\n", "'", '"', "<<E", "<<-E", "\nE\n",
    "--x=y ", "=", "$a", "[", '"a"', "]", ",", "\nRUN ", "\nENV A=", "\nCOPY ", "é",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=12))
def test_any_text_is_read_as_docker_reads_it_or_refused_as_it_refuses(pieces: list[str]) -> None:
    text = "FROM a\nRUN " + "".join(pieces)
    try:
        expected = dockers(text)
    except ValueError:
        with pytest.raises(DockerfileError):
            instructions(text)
        return
    assert ours(text) == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        assert isinstance(parse_dockerfile(data), Dockerfile)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("# only\n", "failed to parse Dockerfile: file with no instructions"),
        (
            "# escape=x\nFROM a",
            "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\",
        ),
        (
            "#escape=`\n#escape=`\nFROM a",
            "dockerfile parse error on line 2: only one escape parser directive can be used",
        ),
        (
            "FROM a\nRUN <<E\nx\n",
            "dockerfile parse error on line 2: unterminated heredoc: E is never closed",
        ),
        (
            "FROM a\nRUN " + "x" * 70000,
            "dockerfile parse error on line 2: dockerfile line greater than max allowed size of "
            "65535",
        ),
    ],
)
def test_an_error_names_its_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text.encode())
    assert str(caught.value) == message


def test_directives_are_kept_until_the_first_other_line() -> None:
    parsed = parse_dockerfile(
        b"# Syntax = docker/dockerfile:1\n# check=skip=all\n\n# escape=`\nFROM a"
    )
    assert parsed.directives == {"syntax": "docker/dockerfile:1", "check": "skip=all"}
    assert parsed.escape == "\\"


def test_an_empty_continuation_line_is_remarked() -> None:
    parsed = parse_dockerfile(b"FROM a\nRUN x \\\n\n  y\n")
    assert [(caution.line, caution.text) for caution in parsed.cautions] == [
        (3, "Empty continuation line")
    ]


def test_chomping_takes_leading_tabs_only() -> None:
    assert Heredoc("E", "\t\ta\n \tb\n\n", chomp=True).text == "a\n \tb\n\n"
