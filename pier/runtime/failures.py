r"""What an OCI runtime says when it fails, in the words Docker's clients look for. Pure.

`docker run` derives its exit code from them (surface a.9): 127 for "executable file not found"
and "no such file or directory", 126 for "permission denied". crun writes strerror's capitals and
quotes of its own; runc's words are Docker's already.
"""

import json
import re

_ERRNO_WORDS = (
    ("No such file or directory", "no such file or directory"),
    ("Permission denied", "permission denied"),
    ("Not a directory", "not a directory"),
    ("Is a directory", "is a directory"),
    ("Exec format error", "exec format error"),
    ("Operation not permitted", "operation not permitted"),
    ("Invalid argument", "invalid argument"),
)
_MISSING = re.compile(r"executable file [`'](.*?)['`] not found(?: in \$PATH)?(?::.*)?$")
_START = "unable to start container process"
_WRONG_KIND = (
    "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host "
    "path exists and is the expected type"
)


def last_error(log: str) -> str:
    """The runtime's last error, of its `--log-format json` file (or plain text); "" if none."""
    errors = [text for line in log.splitlines() if (text := _message(line))]
    return errors[-1] if errors else ""


def _message(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(record, dict) or record.get("level") not in ("error", "fatal", None):
        return ""
    return str(record.get("msg", ""))


def in_dockers_words(text: str, executable: str) -> str:
    """A runtime's own sentence, so that it reads as runc's would. executable: args[0]."""
    for own, word in _ERRNO_WORDS:
        text = text.replace(own, word)
    text = re.sub(r"^runc (run|create|exec) failed: ", "", text)
    missing = _MISSING.search(text)
    if missing:
        return f'{_START}: exec: "{missing[1]}": {_not_found(missing[1])}'
    if text.startswith("open executable: "):
        # crun says EPERM of a file that is not a regular one.
        why = text.removeprefix("open executable: ")
        why = why.replace("operation not permitted", "permission denied")
        return f'{_START}: exec: "{executable}": {why}'
    if text.startswith("exec container process"):
        why = text.rpartition(": ")[2]
        return f'{_START}: exec: "{executable}": {why}'
    if text.endswith("not a directory"):
        return f"{text}: {_WRONG_KIND}"
    return text or "the runtime failed and said nothing"


def _not_found(executable: str) -> str:
    """Go's os/exec: a bare name is looked for in $PATH, a path is opened."""
    if "/" in executable:
        return f"stat {executable}: no such file or directory"
    return "executable file not found in $PATH"


def start_failed(why: str) -> str:
    """What fails once the container is entered, as runc says it. why: strerror's words too."""
    for own, word in _ERRNO_WORDS:
        why = why.replace(own, word)
    return f"{_START}: {why}"


def exec_failed(executable: str, why: str) -> str:
    """The same of the program itself, as Go's exec.Error has it."""
    return start_failed(f'exec: "{executable}": {why}')


def exit_code(text: str) -> int:
    """127, 126 or 128, as Docker's daemon derives it from the sentence."""
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return 127 if "not a directory" in text else 128
