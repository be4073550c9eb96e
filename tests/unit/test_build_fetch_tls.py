"""Downloads by https trust what the machine trusts, when they are made."""

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from typing_extensions import override

from pier.build.fetch import DownloadFailed, download


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def url(authority: trustme.CA, tmp_path: Path) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    class Handler(http.server.SimpleHTTPRequestHandler):
        @override
        def log_message(self, format: str, *arguments: object) -> None:
            """Not on the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}/pyproject.toml"
        server.shutdown()
        thread.join()


def test_a_certificate_is_checked(
    url: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    with pytest.raises(DownloadFailed, match="certificate verify failed"):
        asyncio.run(download(url, target))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    asyncio.run(download(url, target))
    assert target.read_bytes() == Path("pyproject.toml").read_bytes()
