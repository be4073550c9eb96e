"""Named contexts, and contexts and stages that try to leave their place."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.engine.build_support import Directory, leftovers, said
from tests.root.build_bench import context_tar

pytestmark = pytest.mark.usefixtures("classic_builder")


def test_named_contexts(daemon: Daemon, context: Directory) -> None:
    other = Directory(context.path.parent / "other").write(f="from elsewhere", secret="no")
    (other.path / ".dockerignore").write_text("secret\n")
    context.dockerfile(
        "FROM base\nCOPY --from=other . /other\nCOPY . /main\nCOPY --from=img /bin/busybox /b\n"
        "RUN cat /other/f && test ! -e /other/secret && test -f /main/Dockerfile "
        "&& test $(ls -A /main | wc -l) = 1\n"
    )
    daemon.pier(
        "build", "--build-context", f"other={other}", "--build-context", "base=docker-image://busybox",
        "--build-context", "img=docker-image://busybox", str(context),
    )  # fmt: skip
    stdin = b"FROM busybox\nCOPY --from=other f /f\n"
    named = ("--build-context", f"other={other}")
    daemon.pier("build", *named, "-f", "-", str(context), stdin=stdin)
    assert "on stdin" in daemon.pier("build", *named, "-", stdin=stdin, status=1)
    for value, words in (
        ("/does/not/exist", "not a directory"),
        ("oci-layout://x", "not a directory"),
        ("store://x", "store:// is not supported"),
    ):
        refused = daemon.pier("build", "--build-context", f"o={value}", str(context), status=1)
        assert words in refused


def test_links_out_of_the_context_lead_nowhere(daemon: Daemon, tmp_path: Path) -> None:
    host = tmp_path / "host-file"
    host.write_text("of the host")
    for files in (
        {"Dockerfile": "FROM busybox\nCOPY l /f\n", "l": f"->{host}"},
        {"Dockerfile": "FROM busybox\nCOPY d/host-file /f\n", "d": f"->{tmp_path}"},
        {"Dockerfile": "FROM busybox\nCOPY d/up/host-file /f\n", "d/up": "->" + "../" * 30 + "tmp"},
        {"Dockerfile": f"->{host}"},
        {"Dockerfile": "FROM busybox\nRUN --mount=source=l,target=/m cat /m/host-file\n",
         "l": f"->{tmp_path}"},
    ):  # fmt: skip
        done = daemon.run(["docker", "build", "-"], stdin=context_tar(files))
        assert b"of the host" not in done.stdout + done.stderr
        assert done.returncode, files
    assert host.read_text() == "of the host"
    assert leftovers(daemon) == []


def test_an_archive_that_climbs_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    target = tmp_path / "climbed"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in (
            ("Dockerfile", tarfile.REGTYPE, ""),
            ("d", tarfile.SYMTYPE, str(tmp_path)),
            ("d/climbed", tarfile.REGTYPE, ""),
            ("../" * 20 + str(target), tarfile.REGTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            data = b"FROM busybox\n" if kind == tarfile.REGTYPE else b""
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    daemon.run(["docker", "build", "-"], stdin=buffer.getvalue())
    assert not target.exists()
    assert leftovers(daemon) == []


def test_a_copy_from_a_stage_stays_in_the_stage(daemon: Daemon, tmp_path: Path) -> None:
    host = tmp_path / "host-file"
    host.write_text("of the host")
    dockerfile = (
        f"FROM busybox AS a\nRUN ln -s {tmp_path} /d && ln -s {host} /l && ln -s / /root-link\n"
        "FROM busybox\nCOPY --from=a /d/host-file /f\n"
    )
    archive = context_tar({"Dockerfile": dockerfile})
    done = daemon.run(["docker", "build", "-"], stdin=archive)
    assert done.returncode
    into = f"FROM busybox\nRUN ln -s {tmp_path} /out\nCOPY Dockerfile /out/written\n"
    daemon.run(["docker", "build", "-"], stdin=context_tar({"Dockerfile": into}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host-file"]


def test_a_stub_swapped_for_a_link_leads_its_removal_nowhere(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/file").touch()
    dockerfile = (
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/a/b/file "
        f"mv /a /moved && ln -s {tmp_path} /a\n"
    )
    daemon.run(["docker", "build", "-"], stdin=context_tar({"Dockerfile": dockerfile}))
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["c", "file"]
    assert leftovers(daemon) == []


def test_an_oci_layout_is_a_context(daemon: Daemon, context: Directory, tmp_path: Path) -> None:
    text = b"FROM busybox\nRUN echo of-the-layout > /f\nENV FROM_LAYOUT=yes\n"
    daemon.docker("build", "-t", "layout:one", "-", stdin=text)
    layout = tmp_path / "layout"
    daemon.pier("build", "-t", "layout:one", "-o", f"type=oci,dest={tmp_path}/l.tar", "-",
                stdin=text)  # fmt: skip
    layout.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "l.tar", "-C", layout], check=True)
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    daemon.docker("rmi", "layout:one")
    context.dockerfile(
        "FROM base\nCOPY --from=files /f /g\nRUN cat /f /g && test $FROM_LAYOUT = yes\n"
        "RUN --mount=from=files,target=/m cat /m/f\n"
    )
    for selector in ("", ":one", f"@{digest}"):
        words = [f"--build-context={name}=oci-layout://{layout}{selector}"
                 for name in ("base", "files")]  # fmt: skip
        output = daemon.pier("build", "--no-cache", *words, str(context))
        assert said(output, "of-the-layout\n") == 3
    for selector in (":two", "@sha256:" + "0" * 64):
        words = [f"--build-context=base=oci-layout://{layout}{selector}"]
        refused = daemon.pier("build", *words, str(context), status=1)
        assert f"invalid OCI layout: it has no image {selector}" in refused
    assert "layout:one" not in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert leftovers(daemon) == []


def test_a_layout_with_links_to_the_host_is_refused(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    (layout / "blobs").mkdir(parents=True)
    (tmp_path / "index.json").write_text('{"manifests": []}')
    (layout / "index.json").symlink_to(tmp_path / "index.json")
    (layout / "blobs/sha256").symlink_to("/etc")
    context.dockerfile("FROM base\n")
    words = ("--build-context", f"base=oci-layout://{layout}")
    assert "index.json is missing" in daemon.pier("build", *words, str(context), status=1)
    (layout / "index.json").unlink()
    (layout / "index.json").write_text('{"manifests": [{"digest": "sha256:00"}]}')
    assert "blobs/sha256 is missing" in daemon.pier("build", *words, str(context), status=1)


def test_a_stage_is_a_context(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM nowhere.invalid/base\nRUN cat /f\nFROM busybox AS made\nRUN echo x > /f\n"
    )
    words = ("--build-context", "nowhere.invalid/base=target:made", "--target", "0")
    assert "\nx\n" in daemon.pier("build", *words, str(context))
