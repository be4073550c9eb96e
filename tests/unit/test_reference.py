import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import InvalidArgument
from pier.oci.digest import InvalidDigest, parse_digest
from pier.oci.reference import Reference, parse_reference, parse_tag

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/a:1", "docker.io/library/a:1", "a:1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("host:5000/a/b:t", "host:5000/a/b:t", "host:5000/a/b:t"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("Registry/x", "Registry/x", "Registry/x"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
        ("a__b/c---d.e", "docker.io/a__b/c---d.e", "a__b/c---d.e"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
    ],
)
def test_names_have_a_full_and_a_familiar_form(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == full
    assert reference.familiar() == familiar
    assert parse_reference(full) == reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("Busybox", r"repository name \(library/Busybox\) must be lowercase"),
        ("a/" + "b" * 300, "must not be more than 255"),
        (HEX, "cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_bad_names_are_refused_in_dockers_words(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        parse_reference(text)


def test_latest_is_only_a_default() -> None:
    assert parse_reference("a").tag == ""
    assert parse_reference("a").tagged().tag == "latest"
    assert parse_reference(f"a@{DIGEST}").tagged().tag == ""
    assert parse_reference("a:1").with_digest(parse_digest(DIGEST)).familiar() == f"a@{DIGEST}"
    assert parse_reference(f"a@{DIGEST}").with_tag("2").familiar() == "a:2"


PIECES = st.lists(
    st.sampled_from(
        ["a", "library", "docker.io", "localhost", "/", ":", "@", ".", "-", "_", "5000", "A",
         DIGEST, "[::1]", "\n", " ", "é"]
    ), max_size=8).map("".join)  # fmt: skip


@given(st.one_of(PIECES, st.text(max_size=40)))
def test_whatever_is_accepted_means_the_same_in_every_form(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert parse_reference(str(reference)) == reference
    again = parse_reference(reference.familiar())
    assert again == reference
    assert isinstance(again, Reference)
    if reference.tag:
        assert parse_tag(reference.tag) == reference.tag


@given(st.text(max_size=80))
def test_only_sha256_is_a_digest(text: str) -> None:
    try:
        parse_digest(text)
    except InvalidDigest:
        return
    assert len(text) == 71
