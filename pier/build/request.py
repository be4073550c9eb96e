"""What is asked of a build, and what comes of it: values, without a word of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pier.build.git import GitAccess
from pier.build.run import HOSTNAME
from pier.errors import Failed, InvalidArgument
from pier.oci.digest import Digest
from pier.registry.credentials import Auth
from pier.runtime.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Something to make besides the image: "local" and "tar" (its files), "oci" and "docker".

    The image is made and tagged unless outputs are given and all are files. path None: into a
    file without a name, which is the result's.
    """

    type: str
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One build. Everything has Docker's default.

    remote: "" for the context that comes along, else a URL (git, tar or Dockerfile).
    build_args: a value None takes nothing (the client had no such variable). contexts: named
    contexts, `docker-image://`, URLs, or `input:DIR`, a directory of the main context. parcel: the
    client's archive holds several: `context/` is the main one, `input:` counts from its root.
    local_cache: steps made here before count, beside those of `cache_from`'s images.
    no_cache_stages: stages, by name or number, that are built anew.
    auths: for registries, by the names that the client knows them by.
    warnings: to be told in the build's output. limits and shm_size: of each RUN. network: of RUN:
    "default", "none", "host", or a network. secrets and ssh: by ID; ssh is the path of an agent's
    socket. allow_insecure: RUN --security=insecure is allowed; allow_host: RUN --network=host.
    source_date_epoch: seconds; None for the build argument SOURCE_DATE_EPOCH, if there is one.
    """

    tags: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    remote: str = ""
    target: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    pull: bool = False
    squash: bool = False
    cache_from: tuple[str, ...] = ()
    local_cache: bool = True
    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    limits: Resources = field(default_factory=Resources)
    shm_size: int = 0
    contexts: Mapping[str, str] = field(default_factory=dict)
    parcel: bool = False
    auths: Mapping[str, Auth] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict)
    allow_insecure: bool = False
    allow_host: bool = False
    source_date_epoch: int | None = None
    outputs: tuple[Output, ...] = ()

    @property
    def arguments(self) -> dict[str, str]:
        return {name: value for name, value in self.build_args.items() if value is not None}

    @property
    def git_access(self) -> GitAccess:
        return GitAccess(self.secrets, self.ssh.get("default", ""))

    @property
    def hostname(self) -> str:
        """What a RUN finds its machine to be called."""
        return self.arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or HOSTNAME

    @property
    def epoch_ns(self) -> int | None:
        """The one time that everything made here bears, if one was asked for."""
        if self.source_date_epoch is not None:
            return self.source_date_epoch * 10**9
        text = self.arguments.get("SOURCE_DATE_EPOCH", "")
        if not text:
            return None
        if not (text.isascii() and text.isdecimal()) or len(text) > 10:
            raise InvalidArgument(f"invalid SOURCE_DATE_EPOCH: {text}")
        return int(text) * 10**9


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The image's ID ("" when only files were asked for) and the tags it got.

    files: the outputs without a path, in the request's order, at their beginning; the caller's.
    """

    image: str
    tags: tuple[str, ...] = ()
    files: tuple[BinaryIO, ...] = ()


class StepFailed(Failed):
    """A RUN that ended with an exit code, in Docker's words. `line` is in the Dockerfile."""

    def __init__(self, command: str, code: int, line: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self.code = code
        self.line = line


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the result: its uncompressed blob may be missing for those of a base image."""

    diff_id: Digest
    chain_id: str
    blob: Digest | None = None
    size: int = 0
