"""Go's filepath.Match and Docker's ignore rules, as tables; no pattern can take long."""

import pytest

from pier.build.globs import BadPattern, file_match
from pier.build.ignore import BadExclusion, IgnoreRules, read_ignore_file


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("[a-ж]*", "д", True),
        ("*[a-ж]", "A", False),
        ("a?b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[x\\-]", "-", True),
        ("*x", "xxx", True),
        ("", "", True),
    ],
)
def test_file_match_agrees_with_go(pattern: str, name: str, expected: bool) -> None:
    assert file_match(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[", "[^", "a[", "\\", "[a-b-c]", "[a"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        file_match(pattern, "a")


def test_a_hostile_pattern_takes_linear_time() -> None:
    assert not file_match("*a" * 200 + "b", "a" * 5000)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "file", True),
        ("**", "dir/file", True),
        ("**/", "dir/file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir", False),
        ("dir/**/", "dir/dir2/file", True),
        ("**/dir", "dir", True),
        ("**/dir", "a/dir/file", True),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/**", "dir/dir2/dir2/file", True),
        ("**file", "file", True),
        ("**file", "dir/file", True),
        ("**/file", "afile", False),
        ("**file", "afile", True),
        ("**/file*.txt", "dir/file.txt", True),
        ("**/**/*.txt", "dir/dir/file.txt", True),
        ("a**/*.txt", "a/file.txt", True),
        ("a**/*.txt", "a/dir/file.txt", True),
        ("a[b-d]e", "ae", False),
        ("a[b-d]e", "ace", True),
        ("abc/**", "abc", False),
        ("abc/def**", "abc/defghi/x", True),
        ("**/.foo", ".foo", True),
        ("**/.foo", "bar.foo", False),
        ("./bar/..", "x", False),
        ("a(b)c/def", "a(b)c/def", True),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
        ("dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
         "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", True),
        ("foo/*", "foo/bar/baz", True),
        ("*", "foo/bar", True),
        ("*.md", "a/b.md", False),
    ],
)  # fmt: skip
def test_ignore_patterns_match_as_dockers_do(pattern: str, path: str, expected: bool) -> None:
    assert IgnoreRules([pattern]).excludes(path) is expected


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "!README*.md", "README-secret.md"], "README.md", False),
        (["*.md", "README-secret.md", "!README*.md"], "README-secret.md", False),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md"], "docs/a.md", True),
        (["**", "!util/docker/web"], "util/docker/web/foo", False),
        (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
        (["!a"], "a", False),
        ([], "a", False),
    ],
)
def test_the_last_match_wins(patterns: list[str], path: str, excluded: bool) -> None:
    assert IgnoreRules(patterns).excludes(path) is excluded


def test_a_lone_exclamation_mark_is_refused() -> None:
    with pytest.raises(BadExclusion):
        IgnoreRules(["!"])


def test_ignore_file_lines_are_cleaned() -> None:
    data = (
        b"\xef\xbb\xbftest1\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n"
        b"! /inverted/abs/path\n!\n! \n  ./x/../y/  \n #kept\n"
    )
    assert read_ignore_file(data) == [
        "test1", "test2", "a/file/here", "lastfile", "!inverted/abs/path", "!", "!", "y", "#kept",
    ]  # fmt: skip


def test_an_excluded_directory_is_entered_only_for_an_exception_below_it() -> None:
    assert IgnoreRules(["node_modules"]).prunes("node_modules")
    rules = IgnoreRules(["node_modules", "!node_modules/keep", "!*/x"])
    assert not rules.prunes("node_modules")
    assert IgnoreRules(["a", "!b/c"]).prunes("a")
