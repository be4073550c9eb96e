"""The small pure parts of builds: modes, durations, cache keys, URLs, the order of events."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.build.cache import MAX_FILES_NAMED, Miss, StepKey, explain, file_inputs
from pier.build.chmod import BadMode, parse_mode
from pier.build.durations import BadDuration, parse_duration_ns, parse_size_bytes
from pier.build.fetch import file_name_of
from pier.build.git import BadGitUrl, GitSource, parse_git_url
from pier.build.instructions import Arg, Argument, Command, Entrypoint
from pier.build.progress import BuildEvent, InOrder, Remark, StageDone
from pier.build.request import BuildRequest
from pier.build.run import whole_characters
from pier.build.state import StageState, apply
from pier.build.steps import is_git_url, is_http_url
from pier.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("755", 0o600, False, 0o755),
        ("0644", 0o777, True, 0o644),
        ("4755", 0, False, 0o4755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("g=u", 0o640, False, 0o660),
        ("go-rwx", 0o777, False, 0o700),
        ("u+s,+t", 0o755, False, 0o5755),
        ("g+s", 0o755, True, 0o2755),
        ("o=", 0o777, False, 0o770),
        ("u+r-w", 0o200, False, 0o400),
        ("ug=rw,o=r", 0o777, False, 0o664),
    ],
)
def test_modes(text: str, before: int, directory: bool, after: int) -> None:
    assert parse_mode(text).applied(before, directory=directory) == after


@pytest.mark.parametrize("text", ["", "8", "77777", "u", "rwx", "u=z", "u~x", "0x1ff", "-1"])
def test_modes_that_are_none(text: str) -> None:
    with pytest.raises(BadMode):
        parse_mode(text)


@given(st.integers(0, 0o7777), st.sampled_from(["a+r", "u-x", "g=u", "+X", "o=rx"]))
def test_a_mode_stays_a_mode(mode: int, change: str) -> None:
    assert stat.S_IMODE(parse_mode(change).applied(mode, directory=False)) <= 0o7777


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1h2m3s", 3723 * 10**9), ("1.5s", 1_500_000_000), (".5ms", 500_000),
     ("-2us", -2000), ("100ns", 100)],
)  # fmt: skip
def test_durations(text: str, expected: int) -> None:
    assert parse_duration_ns(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s2", "99999999999h", "--1s"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(BadDuration):
        parse_duration_ns(text)


def test_sizes() -> None:
    found = [parse_size_bytes(text) for text in ("64m", "1.5GiB", "10", "2kb", "x", "")]
    assert found == [64 << 20, 3 << 29, 10, 2048, None, None]


KEY = StepKey("p", "COPY a b", {"file a": "1", "file b": "2"})


def test_the_key_depends_on_everything_and_on_no_order() -> None:
    same = StepKey("p", "COPY a b", {"file b": "2", "file a": "1"})
    others = [
        StepKey("q", "COPY a b", KEY.inputs),
        StepKey("p", "COPY a c", KEY.inputs),
        StepKey("p", "COPY a b", {"file a": "1"}),
        StepKey("p", "COPY a b", {"file a": "1", "file b": "3"}),
    ]
    assert same.digest == KEY.digest
    assert len({key.digest for key in [KEY, *others]}) == 5


def test_a_miss_names_what_changed() -> None:
    new = StepKey("q", "COPY a b", {"file a": "9", "file c": "2", "arg V": "2"})
    old = StepKey("p", "COPY a b", {"file a": "1", "file b": "2", "arg V": "1"})
    assert explain(new, [old]).told() == (
        "file a changed; file b is gone; file c is new; arg V was '1', is '2'; parent changed"
    )


def test_the_most_alike_step_explains() -> None:
    far = StepKey("z", KEY.instruction, {"file a": "7", "file b": "8"})
    near = StepKey("p", KEY.instruction, {"file a": "1", "file b": "9"})
    assert explain(KEY, [far, near]).told() == "file b changed"


def test_a_changed_instruction_and_a_new_one() -> None:
    old = StepKey("p", "COPY x b")
    assert explain(KEY, [old]).told() == "the instruction changed: it was 'COPY x b'"
    assert explain(KEY, []) == Miss("nothing like it was built before")


def test_very_many_files_are_named_by_directory() -> None:
    files = [(f"d{number % 3}/f{number}", "x") for number in range(MAX_FILES_NAMED + 1)]
    inputs = file_inputs(files)
    assert sorted(inputs) == ["file d0/", "file d1/", "file d2/"]
    assert file_inputs(reversed(files)) == inputs
    assert file_inputs([*files[1:], ("d0/f0", "y")]) != inputs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/r.git", GitSource("https://h/r.git")),
        ("https://h/r.git#v1:sub/dir", GitSource("https://h/r.git", "v1", "sub/dir")),
        ("https://h/r.git#:sub", GitSource("https://h/r.git", "", "sub")),
        ("https://h/r.git?ref=v1&subdir=s&checksum=abc",
         GitSource("https://h/r.git", "v1", "s", "abc")),
        ("git@h:me/r.git#main", GitSource("git@h:me/r.git", "main")),
        ("github.com/me/r", GitSource("https://github.com/me/r")),
        ("ssh://git@h/r", GitSource("ssh://git@h/r")),
    ],
)  # fmt: skip
def test_git_urls(text: str, expected: GitSource) -> None:
    assert parse_git_url(text) == expected


@pytest.mark.parametrize(
    "text",
    ["file:///etc", "ext::sh -c id", "ext::sh", "/etc", "--upload-pack=x", "https://h/r#-x",
     "https://h/r#a b", "https://h/r#v1:../..", "ssh://-oProxyCommand=x/r"],
)  # fmt: skip
def test_git_urls_that_could_do_harm(text: str) -> None:
    with pytest.raises(BadGitUrl):
        parse_git_url(text)


def test_kinds_of_urls() -> None:
    assert is_git_url("https://h/r.git#x")
    assert is_git_url("git@h:r")
    assert not is_git_url("https://h/r.tar")
    assert is_http_url("https://h/r.tar")
    names = [file_name_of(f"http://h/{rest}") for rest in ("a/b%20c?x=1", "", "x/", "a/..")]
    assert names == ["b c", "", "", ""]


def test_later_stages_wait_for_their_turn() -> None:
    said: list[BuildEvent] = []
    order = InOrder(said.append, [0, 1, 2])
    events = [Remark(stage=1, text="1a"), Remark(stage=0, text="0a"), StageDone(stage=1),
              Remark(text="now"), Remark(stage=2, text="2a"), StageDone(stage=0),
              Remark(stage=2, text="2b")]  # fmt: skip
    for event in events:
        order(event)
    texts = [event.text for event in said if isinstance(event, Remark)]
    assert texts == ["0a", "now", "1a", "2a", "2b"]


def test_what_is_held_back_is_said_in_the_end() -> None:
    said: list[BuildEvent] = []
    order = InOrder(said.append, [0, 1])
    order(Remark(stage=1, text="late"))
    order.flush()
    order.flush()
    assert said == [Remark(stage=1, text="late")]


def test_arguments_take_given_then_default_then_outer_values() -> None:
    state = StageState(given={"A": "given"}, outer={"A": "given", "C": "outer"})
    arguments = (Argument("A", "default"), Argument("B", "$A!"), Argument("C", None),
                 Argument("D", None))  # fmt: skip
    line = Arg(source="ARG", line=1, arguments=arguments)
    assert apply(line, state).arguments == {"A": "given", "B": "given!", "C": "outer"}


def test_an_empty_entrypoint_is_none() -> None:
    line = Entrypoint(source="ENTRYPOINT []", line=1, command=Command((), in_shell=False))
    assert apply(line, StageState()).run.entrypoint is None


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "99999999999", "\uff11"])
def test_an_epoch_is_a_number(text: str) -> None:
    with pytest.raises(InvalidArgument):
        _ = BuildRequest(build_args={"SOURCE_DATE_EPOCH": text}).epoch_ns


def test_no_character_is_cut_in_two() -> None:
    text = "aé€😀".encode()
    for end in range(len(text) + 1):
        whole, rest = whole_characters(text[:end])
        assert whole + rest == text[:end]
        assert len(rest) < 4
        whole.decode()
    assert whole_characters(b"\x80\x80\x80\x80\x80") == (b"\x80" * 5, b"")
    assert whole_characters(b"") == (b"", b"")
