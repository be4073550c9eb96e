"""What `RUN --mount` shows to a RUN, made ready on the host, and gone or given back after it.

Bind mounts come from trees that a RUN must not change: they are read-only, or a private copy on
write. A tree of one directory is bound as it is; one of several layers becomes an overlay that
the runtime mounts inside the container, or, where only a part of it is wanted, a copy. Host paths
handed to the runtime have no links in them that a build could have put there.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pier.build.agents import relayed
from pier.build.cache import file_inputs
from pier.build.cache_mounts import CacheMounts, NewDirectory
from pier.build.content import digests
from pier.build.copy import Destination, Placing, copy_directory, copy_file
from pier.build.plan import Source
from pier.build.request import BuildRequest
from pier.build.run import Mount
from pier.build.run_mounts import RunMount
from pier.build.sources import Sources
from pier.build.trees import Found, Tree, entries_below, find_sources
from pier.errors import InvalidArgument
from pier.threads import blocking

_MAX_OPTIONS = 3500
"""mount(2) takes one page of options."""
_UNSAFE = frozenset(":,\\ \n")


class SecretNotFound(InvalidArgument):
    def __init__(self, kind: str, identity: str) -> None:
        super().__init__(f"{kind} {identity}: not found")


@dataclass(slots=True)
class Mounted:
    """The mounts, and what they add to the environment and to the cache's inputs."""

    mounts: list[Mount] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


class Mounter:
    """Of one build. `scratch` of each RUN is a directory of its own."""

    def __init__(self, sources: Sources, caches: CacheMounts, request: BuildRequest) -> None:
        self._sources = sources
        self._caches = caches
        self._request = request

    async def inputs(
        self, mounts: tuple[RunMount, ...], origins: Mapping[str, Source]
    ) -> dict[str, str]:
        """What of the mounts decides whether a RUN must run: options, and the files bound."""
        named: dict[str, str] = {}
        for number, mount in enumerate(mounts):
            named[f"mount {number} {mount.target}"] = _told(mount)
            if mount.type == "bind":
                tree = await self._sources.tree(_origin(mount, origins))
                named.update(await blocking(_bind_inputs, tree, mount))
        return named

    async def prepare(
        self,
        mounts: tuple[RunMount, ...],
        origins: Mapping[str, Source],
        scratch: Path,
        stack: AsyncExitStack,
    ) -> Mounted:
        """Make everything ready; `stack` gives back what was borrowed."""
        mounted = Mounted()
        agents = 0
        for number, mount in enumerate(mounts):
            place = scratch / f"mount-{number}"
            match mount.type:
                case "bind":
                    mounted.mounts.append(await self._bind(mount, origins, place))
                case "cache":
                    mounted.mounts.append(await self._cache(mount, origins, stack))
                case "tmpfs":
                    mounted.mounts.append(_tmpfs(mount))
                case "secret":
                    self._secret(mount, place, mounted)
                case _:
                    await self._ssh(mount, f"ssh_agent.{agents}", place, mounted, stack)
                    agents += 1
        return mounted

    async def _bind(self, mount: RunMount, origins: Mapping[str, Source], place: Path) -> Mount:
        source = _origin(mount, origins)
        tree = await self._sources.tree(source)
        found = await blocking(_found, tree, mount)
        directories = await self._sources.directories(source)
        is_directory = stat.S_ISDIR(found.status.st_mode)
        if len(directories) == 1 and (mount.readonly or is_directory):
            path = directories[0] / found.path
            if mount.readonly:
                return _bound(mount, path)
            if _is_plain([path]):
                return _on_top(mount, [path], place)
        if is_directory and not found.path and directories and _is_plain(directories):
            return _on_top(mount, directories, place)
        await blocking(_copied, tree, found, place)
        return _bound(mount, place / "copy")

    async def _cache(
        self, mount: RunMount, origins: Mapping[str, Source], stack: AsyncExitStack
    ) -> Mount:
        identity = mount.id or mount.target
        new = NewDirectory(
            0o755 if mount.mode is None else mount.mode, mount.uid or 0, mount.gid or 0
        )
        namespace = self._request.arguments.get("BUILDKIT_CACHE_MOUNT_NS", "")
        path = await stack.enter_async_context(
            self._caches.borrow(f"{namespace}\0{identity}", mount.sharing or "shared", new)
        )
        if mount.origin:
            tree = await self._sources.tree(_origin(mount, origins))
            await blocking(_seed, tree, mount, path)
        return _bound(mount, path)

    def _secret(self, mount: RunMount, place: Path, mounted: Mounted) -> None:
        value = self._request.secrets.get(mount.id)
        if value is None:
            if mount.required:
                raise SecretNotFound("secret", mount.id)
            return
        if mount.env:
            mounted.environment[mount.env] = value.decode("utf-8", "replace")
        if mount.target:
            _write_private(place, value, mount, default_mode=0o400)
            mounted.mounts.append(_bound(mount, place))

    async def _ssh(
        self,
        mount: RunMount,
        name: str,
        place: Path,
        mounted: Mounted,
        stack: AsyncExitStack,
    ) -> None:
        """The first of several agents is the one that programs find by their environment."""
        identity = mount.id or "default"
        agent = self._request.ssh.get(identity)
        if agent is None:
            if mount.required:
                raise SecretNotFound("ssh agent", identity)
            return
        await stack.enter_async_context(relayed(agent, place, mount))
        target = mount.target or f"/run/buildkit/{name}"
        mounted.environment.setdefault("SSH_AUTH_SOCK", target)
        options = ("bind", "rw", "nosuid", "nodev", "private")
        mounted.mounts.append(Mount(target=target, source=str(place), options=options))


def _origin(mount: RunMount, origins: Mapping[str, Source]) -> Source:
    return origins[mount.origin] if mount.origin else Source()


def _told(mount: RunMount) -> str:
    """A mount's options, without what a secret says."""
    parts = (mount.type, mount.origin, mount.source, mount.id, mount.readonly, mount.env)
    return "|".join(str(part) for part in parts)


def _found(tree: Tree, mount: RunMount) -> Found:
    return find_sources(tree, mount.source.replace("*", "\\*") or ".", "RUN")[0]


def _bind_inputs(tree: Tree, mount: RunMount) -> dict[str, str]:
    entries = list(entries_below(tree, _found(tree, mount), ()))
    return file_inputs(digests(tree, entries))


def _bound(mount: RunMount, path: Path) -> Mount:
    access = "ro" if mount.readonly else "rw"
    options = ("bind", access, "nosuid", "nodev", "private")
    return Mount(target=mount.target, source=str(path), options=options)


def _tmpfs(mount: RunMount) -> Mount:
    options = ["nosuid", "nodev", "mode=1777"]
    if mount.size_bytes:
        options.append(f"size={mount.size_bytes}")
    return Mount(target=mount.target, source="tmpfs", type="tmpfs", options=tuple(options))


def _is_plain(paths: list[Path]) -> bool:
    """Whether the paths can stand in the options of an overlay as they are."""
    joined = ":".join(str(path) for path in paths)
    return len(joined) < _MAX_OPTIONS and not any(_UNSAFE & set(str(path)) for path in paths)


def _on_top(mount: RunMount, lower: list[Path], place: Path) -> Mount:
    """An overlay: writes go to a directory that is thrown away."""
    for name in ("upper", "work", "empty"):
        (place / name).mkdir(parents=True, exist_ok=True)
    layers = lower if len(lower) > 1 or not mount.readonly else [*lower, place / "empty"]
    options = [f"lowerdir={':'.join(str(path) for path in layers)}"]
    if not mount.readonly:
        options += [f"upperdir={place / 'upper'}", f"workdir={place / 'work'}"]
    else:
        options.append("ro")
    return Mount(target=mount.target, source="overlay", type="overlay", options=tuple(options))


def _copied(tree: Tree, found: Found, place: Path) -> None:
    """A copy of a part of a tree, at `<place>/copy`."""
    place.mkdir(parents=True)
    place.chmod(0o755)
    entries = list(entries_below(tree, found, ()))
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if entries[0].is_directory:
            (place / "copy").mkdir()
            to = Destination("/copy", is_new=True)
            copy_directory(tree, entries, fd, to, Placing())
        else:
            copy_file(tree, entries[0], "copy", fd, Destination("/"), Placing())
    finally:
        os.close(fd)


def _seed(tree: Tree, mount: RunMount, path: Path) -> None:
    """A cache that is still empty begins with the files of its `from=`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(fd) as listing:
            if any(listing):
                return
        entries = list(entries_below(tree, _found(tree, mount), ()))
        if entries[0].is_directory:
            copy_directory(tree, entries, fd, Destination("/"), Placing())
    finally:
        os.close(fd)


def _write_private(path: Path, value: bytes, mount: RunMount, *, default_mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(fd, "wb") as file:
        file.write(value)
        os.fchown(fd, mount.uid or 0, mount.gid or 0)
        os.fchmod(fd, default_mode if mount.mode is None else mount.mode)
