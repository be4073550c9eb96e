"""pier.runtime.first_words: whose a process's first output is."""

import pytest

from pier.runtime.first_words import HOLD_S, FirstWords, not_executed
from pier.runtime.loop import Loop

LINE = b'{"msg":"exec container process `/bin/sh`: Exec format error","level":"error","time":"x"}'
SAID = b"exec /bin/sh: exec format error\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE + b"\n", SAID),
        (b"\x1b[1;31m" + LINE + b"\x1b[0m\r\n", SAID[:-1] + b"\r\n"),
        (LINE.replace(b"process `", b"process (missing dynamic library?) `") + b"\n", SAID),
        (LINE.replace(b"/bin/sh", b'/a \\"b') + b"\n", SAID.replace(b"/bin/sh", b'/a "b')),
        (b'{"msg":"something else","level":"error"}\n', b""),
        (LINE[:-1] + b"\n", b""),
        (b'{"msg":["exec container process `x`: y"]}\n', b""),
        (b"[]\n", b""),
        (b"", b""),
    ],
)  # fmt: skip
def test_only_crun_sentence_is_translated(line: bytes, said: bytes) -> None:
    assert not_executed(line) == said


class Process:
    """Output and end of one, and what was passed on of it."""

    def __init__(self) -> None:
        self.passed: list[tuple[str, bytes]] = []
        self.loop = Loop(lambda _pid, _status: None)
        self.words = FirstWords(self.loop, lambda stream, data: self.passed.append((stream, data)))


def test_the_runtimes_message_becomes_dockers_in_however_many_parts_it_comes() -> None:
    for cut in range(1, len(LINE)):
        process = Process()
        process.words.feed("stderr", LINE[:cut])
        process.words.feed("stderr", LINE[cut:] + b"\n")
        assert process.passed == []
        assert process.words.finish(1) == 255
        assert process.passed == [("stderr", SAID)]


@pytest.mark.parametrize(
    "outputs",
    [
        [("stdout", b"hello\n"), ("stderr", LINE + b"\n")],  # not the first
        [("stderr", LINE + b"\n"), ("stderr", b"more\n")],  # not the only one
        [("stderr", LINE + b"\n"), ("stdout", b"")],  # of another stream, too
        [("stderr", LINE + b"\nmore")],
        [("stderr", LINE[:20]), ("stderr", b"?" * 10_000)],
        [("stdout", b"{"), ("stdout", b"}")],
    ],
)
def test_what_a_program_writes_passes_as_it_is(outputs: list[tuple[str, bytes]]) -> None:
    process = Process()
    for stream, data in outputs:
        process.words.feed(stream, data)
    assert process.words.finish(1) == 1
    assert b"".join(d for _, d in process.passed) == b"".join(d for _, d in outputs)
    assert [s for s, _ in process.passed] == [s for s, _ in outputs]


def test_a_program_that_ends_otherwise_wrote_it_itself() -> None:
    process = Process()
    process.words.feed("stderr", LINE + b"\n")
    assert process.words.finish(0) == 0
    assert process.passed == [("stderr", LINE + b"\n")]


def test_what_is_held_back_is_held_for_a_moment_only() -> None:
    process = Process()
    process.words.feed("stdout", b'{"msg":')
    process.loop.after(HOLD_S * 1.1, process.loop.stop)
    process.loop.run()
    assert process.passed == [("stdout", b'{"msg":')]
    assert process.words.finish(1) == 1
