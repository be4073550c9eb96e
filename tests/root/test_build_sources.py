"""Where a build's files come from: archives, URLs, repositories."""

import asyncio
import base64
import functools
import http.server
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typing_extensions import override

from pier.build.directories import remove_directory
from pier.build.fetch import ChecksumMismatch
from pier.build.git import GitFailed
from pier.build.request import BuildRequest
from pier.errors import InvalidArgument
from tests.root.build_bench import context_tar, open_bench

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of a directory; its URL."""
    with serving(QuietHandler, tmp_path / "www") as url:
        yield url


@contextmanager
def serving(handler: type[http.server.SimpleHTTPRequestHandler], root: Path) -> Iterator[str]:
    root.mkdir()
    of_root = functools.partial(handler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), of_root)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    @override
    def log_message(self, format: str, *arguments: object) -> None:
        """Tests are quiet."""


def test_add_of_a_url(tmp_path: Path, web: str) -> None:
    (tmp_path / "www/f.txt").write_text("by wire")
    os.utime(tmp_path / "www/f.txt", (1_500_000_000, 1_500_000_000))
    data = context_tar({"in/x": "1"})
    (tmp_path / "www/a.tar").write_bytes(data)
    digest = "a" * 64

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build(
                f"FROM busybox\nADD {web}/f.txt /d/\nADD --chmod=644 {web}/f.txt /named\n"
                f"ADD {web}/a.tar /whole/\nADD --unpack=true {web}/a.tar /open/\n"
            )
            files = bench.files(result)
            assert files["/d/f.txt"].content == "by wire"
            assert files["/d/f.txt"].mode & 0o777 == 0o600
            assert files["/d/f.txt"].mtime == 1_500_000_000
            assert files["/named"].mode & 0o777 == 0o644
            assert "/whole/a.tar" in files
            assert files["/open/in/x"].content == "1"
            with pytest.raises(InvalidArgument) as caught:
                await bench.build(f"FROM busybox\nADD --checksum=sha256:{digest} {web}/f.txt /x\n")
            assert isinstance(caught.value.__cause__, ChecksumMismatch)

    asyncio.run(main())


def test_contexts_by_url(tmp_path: Path, web: str) -> None:
    (tmp_path / "www/c.tar").write_bytes(
        context_tar({"Dockerfile": "FROM busybox\nCOPY a /a\n", "a": "remote"})
    )
    (tmp_path / "www/Plain").write_text("FROM busybox\nRUN echo plain > /p\n")

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/c.tar"))
            assert bench.files(result)["/a"].content == "remote"
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/Plain"))
            assert bench.files(result)["/p"].content == "plain\n"

    asyncio.run(main())


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True
    )


def test_contexts_and_adds_by_git(tmp_path: Path, web: str) -> None:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY f /f\n")
    (work / "sub/f").write_text("first")
    git(work, "init", "-q", "-b", "main", ".")
    git(work, "add", ".")
    git(work, "commit", "-qm", "1")
    git(work, "tag", "v1")
    first = (work / ".git/refs/heads/main").read_text().strip()
    (work / "sub/f").write_text("second")
    git(work, "commit", "-qam", "2")
    bare = tmp_path / "www/repo.git"
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    git(bare, "update-server-info")

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/repo.git#v1:sub"))
            assert bench.files(result)["/f"].content == "first"
            result = await bench.build(f"FROM busybox\nADD {web}/repo.git /src\n")
            assert bench.files(result)["/src/sub/f"].content == "second"
            assert "/src/.git" not in bench.files(result)
            result = await bench.build(
                f"FROM busybox\nADD --keep-git-dir {web}/repo.git#{first} /s\n"
            )
            assert bench.files(result)["/s/sub/f"].content == "first"
            assert "/s/.git/HEAD" in bench.files(result)
            with pytest.raises(InvalidArgument, match="expected checksum to match"):
                await bench.build(f"FROM busybox\nADD --checksum=abcdef0 {web}/repo.git /src\n")

    asyncio.run(main())


@pytest.fixture
def private_web(tmp_path: Path) -> Iterator[str]:
    """A web server of <tmp_path>/www for who knows the token."""
    wanted = "basic " + base64.b64encode(b"x-access-token:s3cret").decode()

    class Private(QuietHandler):
        @override
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
            else:
                self.send_error(403)

    with serving(Private, tmp_path / "www") as url:
        yield url


def test_private_repositories_open_to_a_secret(tmp_path: Path, private_web: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "Dockerfile").write_text(f"FROM busybox\nADD {private_web}/repo.git /src\n")
    git(work, "init", "-q", "-b", "main", ".")
    git(work, "add", ".")
    git(work, "commit", "-qm", "1")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(tmp_path / "www/repo.git"))
    git(tmp_path / "www/repo.git", "update-server-info")
    remote = f"{private_web}/repo.git"
    host = "127.0.0.1"

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            for name in ("GIT_AUTH_TOKEN", f"GIT_AUTH_TOKEN.{host}"):
                request = BuildRequest(remote=remote, secrets={name: b"s3cret\n"})
                result = await bench.build_tar(b"", request)
                assert "/src/Dockerfile" in bench.files(result)
            for name in ("GIT_AUTH_TOKEN.elsewhere", "OTHER"):
                request = BuildRequest(remote=remote, secrets={name: b"s3cret"})
                with pytest.raises(GitFailed):
                    await bench.build_tar(b"", request)
            assert bench.left_behind() == []

    asyncio.run(main())


def test_a_broken_context_is_an_error_of_the_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            for data in (b"", b"no tar at all" * 100, context_tar({"a": "1"})[:700]):
                with pytest.raises(InvalidArgument):
                    await bench.build_tar(data, BuildRequest())
            assert bench.left_behind() == []

    asyncio.run(main())


def test_an_archive_without_its_last_padding_is_taken(tmp_path: Path) -> None:
    text = "FROM busybox\nCOPY Dockerfile /d\n"
    data = context_tar({"Dockerfile": text})[: 512 + len(text)]

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            result = await bench.build_tar(data, BuildRequest())
            assert bench.files(result)["/d"].content == text

    asyncio.run(main())


def test_a_client_that_goes_away_in_the_context_leaves_nothing(tmp_path: Path) -> None:
    async def gone() -> AsyncIterator[bytes]:
        yield context_tar({"Dockerfile": "FROM busybox"})[:1000]
        raise ConnectionResetError

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            with pytest.raises(ConnectionResetError):
                await bench.builder.build(BuildRequest(), gone(), lambda event: None)
            assert bench.left_behind() == []

    asyncio.run(main())


def test_an_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.build.context.MAX_CONTEXT_BYTES", 10_000)
    monkeypatch.setattr("pier.build.context.MAX_CONTEXT_FILES", 50)

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            for files in ({"big": b"x" * 20_000}, {f"f{n}": b"" for n in range(60)}):
                with pytest.raises(InvalidArgument, match="archive bomb"):
                    await bench.build("FROM busybox\nCOPY . /\n", files)
            assert bench.left_behind() == []

    asyncio.run(main())


def test_a_very_deep_context_is_copied_and_removed(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1500)

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            result = await bench.build("FROM busybox\nCOPY . /c/\n", {f"{deep}/f": "x"})
            assert len(bench.image(result).layers) == 2
            assert bench.left_behind() == []

    asyncio.run(main())
    remove_directory(tmp_path / "pier")  # pytest's own way recurses too deep
