"""The corpus of Dockerfiles in tests/data/build_corpus, read into cases.

##### name
--- Dockerfile [bom] [crlf]
--- file PATH | script PATH (executable) | link PATH TARGET | archive PATH (lines "name: text")
--- request          JSON: fields of BuildRequest
--- expect           one expectation a line:
    /path [mode] [uid:gid] ["content" | "->link target"]      !/path: is not there
    config FIELD JSON | author TEXT | layers N | history TEXT | nohistory TEXT
    output TEXT | text TEXT | error TEXT | code N | line N | nohost PATH
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parents[1] / "data/build_corpus"


@dataclass
class Case:
    name: str
    dockerfile: bytes = b""
    files: dict[str, bytes | str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)  # JSON, whatever it holds
    expect: list[str] = field(default_factory=list)

    @property
    def error(self) -> str:
        found = [line for line in self.expect if line.startswith("error ")]
        return found[0].removeprefix("error ") if found else ""


def load_corpus() -> list[Case]:
    return [case for path in sorted(CORPUS.glob("*.txt")) for case in _cases(path.read_text())]


def _cases(text: str) -> Iterator[Case]:
    for block in text.split("##### ")[1:]:
        name, _, rest = block.partition("\n")
        case = Case(name.strip())
        for section in rest.split("\n--- ")[0:]:
            _add(case, section.removeprefix("--- "))
        yield case


def _add(case: Case, section: str) -> None:
    head, _, body = section.partition("\n")
    kind, *words = head.split()
    name = head.removeprefix(kind).strip()
    content = body.rstrip("\n") + "\n" if body.strip() else ""
    match kind:
        case "Dockerfile":
            data = content.replace("\n", "\r\n") if "crlf" in words else content
            case.dockerfile = (b"\xef\xbb\xbf" if "bom" in words else b"") + data.encode()
        case "file":
            case.files[name] = content.encode()
        case "link":
            case.files[words[0]] = "->" + words[1]
        case "archive":
            case.files[name] = _archive(name, content)
        case "request":
            case.request = json.loads(content)
        case "expect":
            case.expect = [line for line in content.splitlines() if line]


def _archive(name: str, lines: str) -> bytes:
    kind = {"gz": "gz", "bz2": "bz2", "xz": "xz"}.get(name.rpartition(".")[2], "")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]  # any mode
        for line in lines.splitlines():
            member, _, text = line.partition(": ")
            entry = tarfile.TarInfo(member)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()
