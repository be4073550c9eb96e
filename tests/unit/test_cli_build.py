"""`pier build` beyond the classic builder: its words, its answer, and its view on a terminal."""

import base64
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pier.cli import build_answer, build_view
from pier.cli.build_answer import BuildAnswer
from pier.cli.build_context import open_context
from pier.cli.build_extras import (
    NamedContexts,
    Output,
    check_attestations,
    check_cache_to,
    encode_secrets,
    find_agents,
    format_metadata,
    parse_cache_from,
    parse_output,
    parse_outputs,
    read_secrets,
)
from pier.cli.faults import Fault
from pier.cli.transport import Response


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("out", "local", "out"),
        ("-", "tar", "-"),
        ("type=local,dest=a/b", "local", "a/b"),
        ("type=tar,dest=x.tar", "tar", "x.tar"),
        ("type=tar", "tar", "-"),
        ("type=oci,dest=-", "oci", "-"),
        ('type=oci,"dest=a,b"', "oci", "a,b"),
        ("type=docker", "image", ""),
        ("type=docker,dest=x", "docker", "x"),
        ("type=image", "image", ""),
    ],
)
def test_outputs_are_read(text: str, kind: str, place: str) -> None:
    output = parse_output(text)
    assert (output.kind, output.place) == (kind, place)


@pytest.mark.parametrize(
    "text",
    ["type=local", "type=local,dest=-", "type=registry", "dest=x", "type=tar,x=y", "type=tar,x",
     "type=image,dest=x"],
)  # fmt: skip
def test_outputs_without_a_meaning_are_refused(text: str) -> None:
    with pytest.raises(Fault):
        parse_output(text)


def test_stdout_takes_one_output_and_only_where_nobody_reads() -> None:
    with pytest.raises(Fault, match="refusing to write to console"):
        parse_outputs(["type=tar"], stdout_is_terminal=True)
    with pytest.raises(Fault, match="only one"):
        parse_outputs(["-", "type=oci"], stdout_is_terminal=False)


def test_secrets_come_from_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"\x00bytes\xff")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VALUE", "v")
    words = ["id=a,src=f", "id=b,env=VALUE", "id=VALUE", "id=f", "id=c,type=env,src=VALUE"]
    secrets = read_secrets(words)
    content = b"\x00bytes\xff"
    assert secrets == {"a": content, "b": b"v", "VALUE": b"v", "f": content, "c": b"v"}
    sent = json.loads(base64.b64decode(encode_secrets(secrets)))
    assert base64.b64decode(sent["a"]) == content


@pytest.mark.parametrize(
    "text", ["src=f", "id=a,src=none", "id=a,env=NONE_SUCH", "id=a,mode=1", "id=a,type=x", "a"]
)
def test_secrets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Fault):
        read_secrets([text])


def test_a_secret_has_a_size(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(600 * 1024))
    with pytest.raises(Fault, match="too large"):
        read_secrets([f"id=a,src={tmp_path}/big"])


def test_an_agent_must_be_on_the_machine_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Fault, match="SSH_AUTH_SOCK"):
        find_agents(["default"], "unix:///x")
    with pytest.raises(Fault, match="not a socket"):
        find_agents(["k=/dev/null"], "unix:///x")
    assert find_agents([], "tcp://far:1") == {}


def test_named_contexts_are_sent_or_named(tmp_path: Path) -> None:
    texts = [
        f"one={tmp_path}",
        "img=docker-image://busybox",
        f"two={tmp_path}",
        "g=https://x/y.git",
        "s=target:stage",
        f"l=oci-layout://{tmp_path}:1.0@sha256:00",
        f"m=oci-layout://{tmp_path}",
    ]
    named = NamedContexts(texts)
    assert named.values == {
        "one": "input:contexts/0",
        "img": "docker-image://busybox",
        "two": "input:contexts/1",
        "g": "https://x/y.git",
        "s": "target:stage",
        "l": "oci-layout:contexts/2:1.0@sha256:00",
        "m": "oci-layout:contexts/3",
    }
    assert named.directories == [str(tmp_path)] * 4
    for text in ("x", "x=", f"x={tmp_path}/none", "x=store://y", "x=oci-layout://y"):
        with pytest.raises(Fault):
            NamedContexts([text])


def test_a_parcel_holds_each_context_in_its_place(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    for directory in (main, other):
        (directory / "d").mkdir(parents=True)
        (directory / "d/f").write_text(directory.name)
    (main / "Dockerfile").write_text("FROM x\n")
    (other / ".dockerignore").write_text("d/f\n")
    context = open_context(str(main), "", io.BytesIO(), [str(other)])
    assert context.parcel
    assert context.chunks is not None
    with tarfile.open(fileobj=io.BytesIO(b"".join(context.chunks))) as tar:
        names = set(tar.getnames())
    assert {"context/Dockerfile", "context/d/f", "contexts/0/d"} <= names
    assert "contexts/0/d/f" not in names


def test_only_the_cache_that_is_in_images_anyway_can_be_kept() -> None:
    check_cache_to(["type=inline"])
    for text in ("type=registry,ref=x", "host/image"):
        with pytest.raises(Fault, match="--cache-from"):
            check_cache_to([text])


def answer_of(data: bytes, size: int) -> Response:
    """An answer that comes in pieces of `size`."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    connection = SimpleNamespace(release=lambda reusable: None)
    return SimpleNamespace(  # type: ignore[return-value] # as much of one as is used
        chunks=lambda: pieces, connection=connection, reusable=True
    )


def announced(index: int, data: bytes) -> bytes:
    line = json.dumps({"aux": {"Output": {"Index": index, "Size": len(data)}}})
    return line.encode() + b"\r\n" + data


@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
def test_outputs_are_taken_out_of_the_messages(tmp_path: Path, size: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("d/f")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"{}\r\n!"))
    data = b'{"stream":"a\\n"}\r\n' + announced(0, buffer.getvalue()) + announced(1, b'{"x":1}\n')
    outputs = [
        Output("local", str(tmp_path / "tree")),
        Output("image", ""),
        Output("tar", str(tmp_path / "t")),
    ]
    answer = BuildAnswer(answer_of(data + b'{"stream":"b"}', size), outputs)
    assert list(answer.messages()) == [{"stream": "a\n"}, {"stream": "b"}]
    assert (tmp_path / "tree/d/f").read_bytes() == b"{}\r\n!"
    assert (tmp_path / "t").read_bytes() == b'{"x":1}\n'


def test_an_output_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    data = announced(0, b"12345")[:-1]
    answer = BuildAnswer(answer_of(data, 3), [Output("tar", str(tmp_path / "t"))])
    with pytest.raises(Fault, match="EOF"):
        list(answer.messages())
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_tree_stays_in_its_directory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("l/escaped"))
    part = SimpleNamespace(read=io.BytesIO(buffer.getvalue()).read)
    with pytest.raises(Fault, match="leads out"):
        build_answer._unpack(part, str(tmp_path / "tree"))  # type: ignore[arg-type] # reads alike
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def events() -> Iterator[dict[str, Any]]:
    for event in (
        {"Kind": "StepStarted", "Step": 1, "Total": 3, "Text": "FROM x", "Stage": 0},
        {"Kind": "StepDone", "Step": 1, "Stage": 0},
        {"Kind": "StepStarted", "Step": 2, "Total": 3, "Text": "COPY a b", "Stage": 0},
        {"Kind": "StepCached", "Step": 2, "Stage": 0},
        {"Kind": "StepStarted", "Step": 3, "Total": 3, "Text": "RUN\tmake  all", "Stage": 1},
        {"Kind": "StepRuns", "Step": 3, "Reason": "file a changed", "Stage": 1},
        {"Kind": "StepOutput", "Step": 3, "Text": "compil", "Stage": 1},
        {"Kind": "StepOutput", "Step": 3, "Text": "ing\n\x1b[2Jevil\n", "Stage": 1},
        {"Kind": "StepDone", "Step": 2, "Stage": 0},
    ):
        yield {"aux": {"Event": event}}
    yield {"aux": {"ID": "sha256:1"}}
    yield {"errorDetail": {"code": 4, "message": "it failed"}, "error": "it failed"}


def test_the_view_shows_steps_and_what_the_failing_one_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other: list[dict[str, Any]] = []
    with pytest.raises(Fault) as caught:
        build_view.show_live(events(), other.append, explain=True)
    assert caught.value.code == 4
    assert other == [{"aux": {"ID": "sha256:1"}}]
    shown = capsys.readouterr().out
    assert "[1/3] FROM x" in shown
    assert "CACHED\n" in shown
    assert "[3] not cached: file a changed" in shown
    end = shown.rpartition("[3/3]")[2]
    assert "   | compiling\n" in end
    assert "\x1b[2J" not in shown


def test_caches_are_named_as_docker_and_as_buildx_do() -> None:
    assert parse_cache_from(["a,b:1", "type=registry,ref=host:5000/c", "d"]) == [
        "a", "b:1", "host:5000/c", "d"
    ]  # fmt: skip
    for text in ("type=gha", "type=registry", "type=registry,ref=a,x=y"):
        with pytest.raises(Fault):
            parse_cache_from([text])


def test_attestations_are_refused_and_their_absence_is_not() -> None:
    check_attestations([], "false", "False")
    for words in ((["type=sbom"], "false", "false"), ([], "mode=max", "false"), ([], "false", "1")):
        with pytest.raises(Fault, match="attestations are not supported"):
            check_attestations(*words)


def test_metadata_names_what_was_built() -> None:
    text = format_metadata("sha256:1", ["a", "host:5000/b:2"])
    assert json.loads(text) == {
        "containerimage.config.digest": "sha256:1",
        "image.name": "docker.io/library/a:latest,host:5000/b:2",
    }
    assert json.loads(format_metadata("", [])) == {}


def test_an_output_can_name_the_image() -> None:
    assert parse_output('type=image,"name=a,b:1"').names == ["a", "b:1"]
    with pytest.raises(Fault, match="'name' is not supported"):
        parse_output("type=tar,dest=x,name=a")


def test_nothing_a_dockerfile_says_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x1b]0;title\x07"
    events = [
        {"Kind": "StepStarted", "Step": 1, "Total": 1, "Text": f"RUN {evil}", "Line": 1},
        {"Kind": "StepRuns", "Step": 1, "Reason": f"file {evil} changed"},
        {"Kind": "StepOutput", "Step": 1, "Text": f"{evil}\n"},
        {"Kind": "Remark", "Text": f"[Warning] {evil}\n"},
        {"Kind": "StepDone", "Step": 1},
    ]
    messages = ({"aux": {"Event": event}} for event in events)
    build_view.show_live(messages, lambda message: None, explain=True)
    shown = capsys.readouterr().out
    assert "[Warning]" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown


def test_more_stages_than_lines_are_not_drawn_beyond_the_top(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_view, "_size", lambda: os.terminal_size((60, 6)))
    events = [
        {"Kind": "StepStarted", "Step": number, "Total": 9, "Text": f"RUN {number}", "Line": 1}
        for number in range(1, 10)
    ]
    messages = ({"aux": {"Event": event}} for event in events)
    build_view.show_live(messages, lambda message: None, explain=False)
    shown = capsys.readouterr().out
    assert "=> [4/9] RUN 4" in shown
    assert "… and 5 more lines" in shown
    assert "=> [5/9] RUN 5" in shown.partition("more lines")[0]
    assert "\x1b[1A" * 5 not in shown.replace("\r\x1b[2K", "").replace("\x1b[1A" * 5, "", 99)
    erased = [len(run) // 4 for run in re.findall(r"(?:\x1b\[1A)+", shown.replace("\r\x1b[2K", ""))]
    assert max(erased) == 5
