"""Running a program and reading its answer without blocking the event loop.

No shell, no inherited stdin, and an answer of bounded size: what a program writes is foreign.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. code is negative for a signal, as in subprocess."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it complained about, for a sentence in an error."""
        return self.stderr.decode(errors="replace").strip()


class OutputTooLong(OSError):
    """The program wrote more than anybody wants to read; it was killed."""


async def run(
    argv: Sequence[str],
    *,
    input: bytes = b"",
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> Finished:
    """Run `argv` to its end. It never outlives the call: it is killed if that is left early.

    Raises FileNotFoundError for a missing program, TimeoutError after `timeout_s`, and
    OutputTooLong if either stream exceeds `limit_bytes`. An exit code other than 0 is an
    answer, not an error.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if input else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await _converse(process, input, limit_bytes)
    finally:
        # Kills it if it still runs, and closes the pipes: a grandchild may hold their other ends.
        process._transport.close()  # type: ignore[attr-defined]  # no public way to close the pipes
        await process.wait()


async def exit_code(argv: Sequence[str]) -> int:
    """Run `argv`, which says nothing, and wait for its end; 128 + n for a signal.

    Who is cancelled does not wait for the program: it is killed, and may be in a call that a
    signal does not end. Raises FileNotFoundError for a missing program.
    """
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, stdin=nothing, stdout=nothing)
    try:
        code = await process.wait()
        return code if code >= 0 else 128 - code
    finally:
        process._transport.close()  # type: ignore[attr-defined]  # no public way to let go of it


async def _converse(process: asyncio.subprocess.Process, data: bytes, limit: int) -> Finished:
    assert process.stdout is not None
    assert process.stderr is not None
    # gather, not a TaskGroup: the first failure leaves as itself, not wrapped in a group, and
    # the caller kills the process, which ends the other readers.
    _, stdout, stderr = await asyncio.gather(
        _feed(process.stdin, data), _read(process.stdout, limit), _read(process.stderr, limit)
    )
    return Finished(await process.wait(), stdout, stderr)


async def _feed(stdin: asyncio.StreamWriter | None, data: bytes) -> None:
    if stdin is None:
        return
    try:
        stdin.write(data)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it ended without reading everything; its exit code tells
    finally:
        stdin.close()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await stream.read(_CHUNK):
        data += chunk
        if len(data) > limit:
            raise OutputTooLong(f"more than {limit} bytes of output")
    return bytes(data)
