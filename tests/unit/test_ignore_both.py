"""The client and the daemon read .dockerignore each by itself: they must mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.build.globs import BadPattern
from pier.build.ignore import BadExclusion, IgnoreRules, read_ignore_file
from pier.cli.faults import Fault
from pier.cli.ignore_file import Ignored, parse_ignore_file

CASES = [
    ("a", "a a/b a/b/c", "b ab b/a"),
    ("a/", "a a/b", "b"),
    ("/a", "a a/b", "b/a"),
    ("./a", "a", "b"),
    ("a/../b", "b", "a"),
    ("*", "a a/b", ""),
    ("*.log", "x.log", "d/x.log x.logs"),
    ("*/x", "a/x a/x/y", "x a/b/x"),
    ("**/x", "x a/x a/b/x a/x/y", "ax a/bx"),
    ("**x", "x ax a/bx", "xa"),
    ("**/*.o", "x.o a/x.o a/b/x.o", "x.oo"),
    ("a/**", "a/b a/b/c", "a b/a"),
    ("a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb"),
    ("a/**b", "a/b a/x/b", "a/xb"),
    ("a**", "a ab a/b", "ba"),
    ("?", "a é", "ab"),
    ("[a-c]x", "ax cx", "dx"),
    ("[^a]x", "bx", "ax"),
    (r"\*", "*", "a"),
    ("a b", "a b", "a"),
    ("  a  ", "a", "b"),
    ("#a\n #b", "#b", "#a a b"),
    ("\n\n", "", "a"),
    ("\ufeffa", "a", "b"),
    ("a\r\nb\r", "a b", "c"),
    ("*\n!a", "b", "a a/b"),
    ("*\n!a/b", "a a/c", "a/b a/b/c"),
    ("a\n!a/b\na/b/c", "a/x a/b/c", "a/b"),
    ("! a\nb", "b", "a"),
    ("a\n! a", "", "a"),
    ("!b\nb", "b", "a"),
    ("../a", "", "a b"),
    (".", "", "a"),
    ("a.b", "a.b", "axb"),
    ("$a+(b)|{c}", "$a+(b)|{c}", "ab"),
]


@pytest.mark.parametrize(("text", "out", "kept"), CASES)
def test_patterns(text: str, out: str, kept: str) -> None:
    client, daemon = both(text)
    names = [out] if " " in text.strip() and " " in out and "\n" not in text else out.split()
    for name in names:
        assert (client(name), daemon.excludes(name)) == (True, True), name
    for name in kept.split():
        assert (client(name), daemon.excludes(name)) == (False, False), name


def both(text: str) -> tuple[Ignored, IgnoreRules]:
    return Ignored(parse_ignore_file(text)), IgnoreRules(read_ignore_file(text.encode()))


@pytest.mark.parametrize("text", ["!", "a\n  !  \n"])
def test_an_exception_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="illegal exclusion"):
        parse_ignore_file(text)
    with pytest.raises(BadExclusion):
        IgnoreRules(read_ignore_file(text.encode()))


PIECES = st.sampled_from(["a", "b", "ab", "*", "**", "?", "/", ".", "..", "a*", "!", r"\*", " "])
LINES = st.lists(PIECES, min_size=1, max_size=6).map("".join)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "aab", ".a"]), min_size=1, max_size=4)


@given(st.lists(LINES, min_size=1, max_size=4).map("\n".join), PATHS.map("/".join))
def test_they_agree(text: str, path: str) -> None:
    try:
        client, daemon = both(text)
    except (BadExclusion, BadPattern, Fault):
        return
    assert client(path) == daemon.excludes(path)
