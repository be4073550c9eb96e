"""Runtimes' error texts, as crun 1.8 and runc 1.1 write them, in Docker's words."""

import pytest

from pier.runtime.failures import exit_code, in_dockers_words, last_error

_START = "unable to start container process"


@pytest.mark.parametrize(
    ("text", "executable", "words", "code"),
    [
        (
            "executable file `nosuch` not found in $PATH: No such file or directory",
            "nosuch",
            f'{_START}: exec: "nosuch": executable file not found in $PATH',
            127,
        ),
        (
            "executable file `/no/such` not found: No such file or directory",
            "/no/such",
            f'{_START}: exec: "/no/such": stat /no/such: no such file or directory',
            127,
        ),
        (
            'runc run failed: unable to start container process: exec: "/x": permission denied',
            "/x",
            f'{_START}: exec: "/x": permission denied',
            126,
        ),
        (
            "open executable: Operation not permitted",
            "/proc",
            f'{_START}: exec: "/proc": permission denied',
            126,
        ),
        (
            "open executable: Permission denied",
            "/etc/secret",
            f'{_START}: exec: "/etc/secret": permission denied',
            126,
        ),
        (
            "mount `x` to `y`: Not a directory",
            "sh",
            "mount `x` to `y`: not a directory: Are you trying to mount a directory onto a file "
            "(or vice-versa)? Check if the specified host path exists and is the expected type",
            127,
        ),
        ("cgroups in hybrid mode not supported", "sh", "cgroups in hybrid mode not supported", 128),
        ("", "sh", "the runtime failed and said nothing", 128),
    ],
)
def test_a_sentence_and_its_exit_code(text: str, executable: str, words: str, code: int) -> None:
    assert in_dockers_words(text, executable) == words
    assert exit_code(words) == code


def test_the_last_error_of_a_log_counts() -> None:
    log = (
        '{"level":"warning","msg":"w"}\n{"level":"error","msg":"a"}\n{"msg":"b","level":"error"}\n'
    )
    assert last_error(log) == "b"
    assert last_error('{"level":"warning","msg":"w"}\n') == ""
    assert last_error("plain text\n") == "plain text"
    assert last_error("") == ""
