"""Variable substitution: every form of the reference, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.build.expansion import BadSubstitution, expand

VALUES = {"a": "x", "e": "", "p": "foo/bar/baz.tar.gz", "s": "a b", "star": "a*b?c"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$a", "x"),
        ("${a}b", "xb"),
        ("$ab", ""),
        ("$a-b", "x-b"),
        ("${n:-d}", "d"),
        ("${e-d}", ""),
        ("${e:-d}", "d"),
        ("${n-$a}", "x"),
        ("${n:-${e:-${a}}}", "x"),
        ("${a:+w}", "w"),
        ("${e:+w}", ""),
        ("${e+w}", "w"),
        ("${n+w}", ""),
        ("${a:?no}", "x"),
        ("${e?no}", ""),
        ("${p#*/}", "bar/baz.tar.gz"),
        ("${p##*/}", "baz.tar.gz"),
        ("${p%.*}", "foo/bar/baz.tar"),
        ("${p%%.*}", "foo/bar/baz"),
        ("${p#nothing}", "foo/bar/baz.tar.gz"),
        ("${p#f??}", "/bar/baz.tar.gz"),
        ("${p/a/A}", "foo/bAr/baz.tar.gz"),
        ("${p//a/A}", "foo/bAr/bAz.tAr.gz"),
        ("${p//b*r/_}", "foo/_.gz"),
        ("${p//\\//_}", "foo_bar_baz.tar.gz"),
        ("${p//./}", "foo/bar/baztargz"),
        ("${star#a\\*}", "b?c"),
        ("${star//\\?/!}", "a*b!c"),
        ("${n/x/y}", ""),
        ("\\$a", "$a"),
        ("\\\\$a", "\\x"),
        ("'$a'", "$a"),
        ("'a\\'", "a\\"),
        ('"$a"', "x"),
        ('"\\$a"', "$a"),
        ('"\\n"', "\\n"),
        ('"it\'s"', "it's"),
        ("$$", ""),
        ("$1x", "x"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ ", "$ "),
        ("a\\", "a"),
        ("", ""),
        ("é$a", "éx"),
    ],
)
def test_every_form(word: str, expected: str) -> None:
    assert expand(word, VALUES).text == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("${a", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${a!b}", "unsupported modifier (!) in substitution"),
        ("${a:b}", "unsupported modifier (:b) in substitution"),
        ("${n?}", "n: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("${n:?my words}", "n: my words"),
        ("${p/a}", "syntax error: missing '/' in ${}"),
        ("${p#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
    ],
)
def test_what_is_refused(word: str, reason: str) -> None:
    with pytest.raises(BadSubstitution) as caught:
        expand(word, VALUES)
    assert str(caught.value).endswith(f": {reason}")


def test_another_escape_character() -> None:
    assert expand("`$a \\$a", VALUES, "`").text == "$a \\x"


def test_words_part_at_blanks_that_are_not_quoted() -> None:
    assert expand('$s "$s" c', VALUES).words == ("a", "b", "a b", "c")


def test_names_used_and_missing_are_known() -> None:
    found = expand("$a ${a:-x} ${n} ${m#x} ${o:-x} ${q+x}", VALUES)
    assert (set(found.used), set(found.unset)) == ({"a"}, {"n", "m"})


def test_hostile_patterns_take_no_time() -> None:
    values = {"v": "a" * 20_000}
    assert expand("${v##" + "*a" * 50 + "b}", values).text == values["v"]
    assert len(expand("${v//" + "a*" * 20 + "b/x}", {"v": "a" * 300}).text) == 300


def test_nesting_has_a_bound() -> None:
    with pytest.raises(BadSubstitution, match="nested too deeply"):
        expand("${n:-" * 5000 + "}" * 5000, {})


@given(st.text(alphabet="$a{}:-+?#%/'\"\\ n*", max_size=25))
def test_any_word_is_expanded_or_refused(word: str) -> None:
    try:
        found = expand(word, VALUES)
    except BadSubstitution:
        return
    assert isinstance(found.text, str)


@given(st.text(alphabet=st.characters(exclude_characters="$'\"\\", codec="utf-8"), max_size=30))
def test_plain_text_stays_as_it_is(word: str) -> None:
    assert expand(word, VALUES).text == word
