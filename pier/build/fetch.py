"""Files by URL, for ADD and for contexts: downloaded whole, checked, given their own time."""

import email.utils
import hashlib
import os
import posixpath
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from pier.errors import Failed, InvalidArgument
from pier.images.remote import answer_to
from pier.registry.breakage import words
from pier.threads import blocking

MAX_DOWNLOAD_BYTES = 1 << 36
_CHUNK = 256 * 1024


class DownloadFailed(Failed):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"failed to get {url}: {why}")


class Unreachable(DownloadFailed):
    def __init__(self, url: str, error: BaseException) -> None:
        Failed.__init__(self, f'ADD failed: Get "{url}": {words(error)}')


class ChecksumMismatch(InvalidArgument):
    def __init__(self, url: str, expected: str, actual: str) -> None:
        super().__init__(f"digest mismatch for {url}: {actual} (expected: {expected})")


def file_name_of(url: str) -> str:
    """The last part of a URL's path, "" if it has none."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    return "" if name in (".", "..") or "\0" in name else name


async def download(url: str, path: Path, *, checksum: str = "") -> None:
    """Write what `url` answers to `path`, mode 0600, with the time the server says.

    checksum: `sha256:<hex>`, or nothing. Raises DownloadFailed, ChecksumMismatch.
    """
    hasher = hashlib.sha256()
    try:
        async with answer_to(url) as response:
            if response.status >= 400:
                raise DownloadFailed(url, f"{response.status} {response.reason}")
            await _save(url, response, path, hasher)
            modified = response.headers.get("Last-Modified", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unreachable(url, error) from error
    actual = f"sha256:{hasher.hexdigest()}"
    if checksum and checksum != actual:
        raise ChecksumMismatch(url, checksum, actual)
    await blocking(_dress, path, _time_ns(modified))


def _dress(path: Path, time_ns: int) -> None:
    path.chmod(0o600)
    os.utime(path, ns=(time_ns, time_ns))


async def _save(
    url: str, response: aiohttp.ClientResponse, path: Path, hasher: "hashlib._Hash"
) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > MAX_DOWNLOAD_BYTES:
                raise DownloadFailed(url, f"more than {MAX_DOWNLOAD_BYTES} bytes")
            hasher.update(chunk)
            await blocking(file.write, chunk)


def _time_ns(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return 0
