"""Git repositories as contexts and ADD sources: which one, which commit, checked out how.

The `git` program does the work, with a home of its own, no hooks, no prompts, and only protocols
that speak to a server: a URL cannot name a file of the host or a command.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pier.errors import Failed, InvalidArgument
from pier.linux import process

_TIMEOUT_S = 600.0
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)[^\s]+")
_REF = re.compile(r"[\w./+@{}^~-]{1,255}", re.ASCII)
_SCHEMES = ("https", "http", "git", "ssh")
_CONFIG = (
    "core.hooksPath=/dev/null", "protocol.allow=never", "protocol.https.allow=always",
    "protocol.http.allow=always", "protocol.git.allow=always", "protocol.ssh.allow=always",
    "core.symlinks=true", "core.fsmonitor=false", "advice.detachedHead=false",
)  # fmt: skip
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new",
    "LC_ALL": "C",
}


class BadGitUrl(InvalidArgument):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"invalid git URL {url!r}: {why}")


class GitFailed(Failed):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"unable to get {url}: {why}")


@dataclass(frozen=True, slots=True)
class GitSource:
    """`url#ref:subdir`. `checksum`: what the commit must begin with."""

    url: str
    ref: str = ""
    subdirectory: str = ""
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What opens private repositories: the build's secrets GIT_AUTH_TOKEN and GIT_AUTH_HEADER, also
    with `.<host>` for one host only, and an agent's socket.
    """

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agent: str = ""

    def environment(self, url: str) -> dict[str, str]:
        """Git's, for `url`: where only its own user can read it, and sent to that host alone."""
        environment = {"SSH_AUTH_SOCK": self.agent} if self.agent else {}
        parts = urlsplit(url)
        header = self._header(parts.hostname or "")
        if header and parts.scheme in ("https", "http"):
            environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: {header}",
            }
        return environment

    def _header(self, host: str) -> str:
        header = self._secret("GIT_AUTH_HEADER", host)
        token = self._secret("GIT_AUTH_TOKEN", host)
        if not header and token:
            header = "basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
        if not header.isprintable():
            raise BadGitUrl(host, "its GIT_AUTH_TOKEN or GIT_AUTH_HEADER is more than a line")
        return header

    def _secret(self, name: str, host: str) -> str:
        value = self.secrets.get(f"{name}.{host}") or self.secrets.get(name) or b""
        return value.decode("utf-8", "replace").strip()


NO_ACCESS = GitAccess()


def parse_git_url(text: str) -> GitSource:
    """Read `url#ref:dir` or `url?ref=&subdir=&checksum=`; raise BadGitUrl."""
    location, _, fragment = text.partition("#")
    ref, _, subdirectory = fragment.partition(":")
    location, query = _without_query(location)
    source = GitSource(
        url=_checked_location(location, text),
        ref=query.get("ref") or query.get("branch") or query.get("tag") or ref,
        subdirectory=(query.get("subdir") or subdirectory).strip("/"),
        checksum=query.get("checksum") or query.get("commit") or "",
    )
    if source.ref and (not _REF.fullmatch(source.ref) or source.ref.startswith("-")):
        raise BadGitUrl(text, f"invalid ref {source.ref!r}")
    if ".." in source.subdirectory.split("/"):
        raise BadGitUrl(text, "the subdirectory is outside of the repository")
    return source


def _without_query(location: str) -> tuple[str, dict[str, str]]:
    if "?" not in location:
        return location, {}
    parts = urlsplit(location)
    return urlunsplit(parts._replace(query="")), dict(parse_qsl(parts.query))


def _checked_location(location: str, text: str) -> str:
    if location.startswith("github.com/"):
        location = "https://" + location
    if "://" not in location:
        if "::" in location or location.startswith("-") or not _SCP.fullmatch(location):
            raise BadGitUrl(text, "not a URL")
        return location
    if urlsplit(location).scheme not in _SCHEMES or urlsplit(location).netloc.startswith("-"):
        raise BadGitUrl(text, "unsupported protocol")
    return location


async def check_out(
    source: GitSource, directory: Path, *, keep_git_dir: bool, access: GitAccess = NO_ACCESS
) -> str:
    """Put the wanted commit's files into the empty `directory`; return the commit.

    Submodules are checked out too. Raises GitFailed, InvalidArgument for a wrong checksum.
    """
    git = _Git(source.url, directory, access.environment(source.url))
    await git.run("init", "--quiet", ".")
    await git.run("remote", "add", "origin", source.url)
    await _fetch(source, git)
    commit = (await git.run("rev-parse", "FETCH_HEAD^{commit}")).strip()
    if source.checksum and not commit.startswith(source.checksum):
        raise InvalidArgument(f"expected checksum to match {source.checksum}, got {commit}")
    await git.run("checkout", "--quiet", "--force", commit)
    if (directory / ".gitmodules").is_file():
        update = ("submodule", "update", "--init", "--recursive", "--depth=1", "--quiet")
        await git.run(*update)
    if not keep_git_dir:
        await _git_dir_removed(directory)
    return commit


async def _fetch(source: GitSource, git: "_Git") -> None:
    ref = source.ref or "HEAD"
    plain = ["fetch", "--quiet", "--no-tags"]
    attempts = [[*plain, "--depth=1", "--", "origin", ref], [*plain, "--", "origin", ref]]
    if re.fullmatch(r"[0-9a-f]{7,64}", ref):
        # A server may refuse to send a commit by its name: take all, and look for it there.
        attempts.append(["fetch", "--quiet", "origin", "+refs/*:refs/remotes/origin/*"])
    failure: GitFailed | None = None
    for arguments in attempts:
        try:
            await git.run(*arguments)
        except GitFailed as error:
            failure = failure or error
            continue
        if arguments[-1] != ref:
            await git.run("update-ref", "FETCH_HEAD", ref)
        return
    assert failure is not None
    raise failure


async def _git_dir_removed(directory: Path) -> None:
    await process.run(["rm", "-rf", "--", str(directory / ".git")], timeout_s=_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class _Git:
    """The program in one directory, for one repository."""

    url: str
    directory: Path
    access: Mapping[str, str]

    async def run(self, *arguments: str) -> str:
        """What it prints; raises GitFailed."""
        options = [word for setting in _CONFIG for word in ("-c", setting)]
        argv = ["git", "-C", str(self.directory), *options, *arguments]
        environment = {**_ENVIRONMENT, **self.access, "HOME": str(self.directory.parent)}
        try:
            done = await process.run(argv, timeout_s=_TIMEOUT_S, env=environment)
        except FileNotFoundError as error:
            raise GitFailed(self.url, "git is not installed on the daemon's host") from error
        except TimeoutError as error:
            raise GitFailed(self.url, f"git took more than {_TIMEOUT_S:.0f} seconds") from error
        if done.code:
            why = done.message.rpartition("\n")[2] or f"git ended {done.code}"
            raise GitFailed(self.url, why)
        return done.stdout.decode("utf-8", "replace")
