"""`--squash`: the layers that a build added become one, on top of the base image's.

The new layers are seen together as an overlay without the base; what they hide of the base would
be lost that way, so their marks are gathered from the layers themselves.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pier.archive.layer import OPAQUE_XATTR, is_opaque, is_whiteout
from pier.archive.walk import join, walk
from pier.build.cache import StepKey
from pier.build.copy import Destination, Placing, copy_directory
from pier.build.ignore import IgnoreRules
from pier.build.layers import Layers
from pier.build.request import Layer
from pier.build.scope import Scope
from pier.build.stage import StageResult
from pier.build.trees import Tree, entries_below, find_sources
from pier.linux.mount import Overlay, open_overlay
from pier.linux.paths import STRICTLY_BELOW, open_in_root
from pier.oci.image import History
from pier.threads import blocking

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def squash(result: StageResult, layers: Layers, scope: Scope) -> StageResult:
    """The same files with one new layer; history keeps what was done, without its layers."""
    count = len(result.layers) - result.base_layers
    if count < 2:
        return result
    base = result.layers[result.base_layers - 1].chain_id if result.base_layers else ""
    key = StepKey(result.key, "squash", {"layers": result.chain_id})
    async with scope.hold(key):
        made = scope.find(key)
        if made is None:
            snapshot = layers.prepare(base)
            try:
                new = layers.lower(result.chain_id)[:count]
                old = layers.lower(base) if base else []
                await blocking(_merge, new, old, layers.directory(snapshot))
                made = await layers.commit(snapshot, base, key, scope.created_ns(), scope.epoch_ns)
            except BaseException:
                layers.drop(snapshot)
                raise
            scope.remember(key, made)
    merged = History(created_ns=made.created_ns, created_by="squash", comment="merge of steps")
    kept = result.layers[: result.base_layers]
    if made.diff_id is not None:
        kept = (*kept, Layer(made.diff_id, made.chain_id, made.blob, made.size))
    return replace(
        result,
        chain_id=made.chain_id,
        layers=kept,
        history=(*_without_layers(result.history, result.base_layers), merged),
    )


def _without_layers(history: Sequence[History], base_layers: int) -> list[History]:
    """History whose entries after the base's layers have none."""
    told = []
    seen = 0
    for entry in history:
        if not entry.empty_layer:
            seen += 1
        told.append(replace(entry, empty_layer=True) if seen > base_layers else entry)
    return told


def _merge(layers: Sequence[Path], base: Sequence[Path], target: Path) -> None:
    """Put what `layers`, topmost first, show together into `target`, and what they hide."""
    root_fd = open_overlay(Overlay(tuple(str(path) for path in layers)))
    target_fd = os.open(target, _DIRECTORY)
    try:
        tree = Tree(root_fd, IgnoreRules([]), own_ids=True, context=False)
        entries = list(entries_below(tree, find_sources(tree, ".", "squash")[0], ()))
        copy_directory(tree, entries, target_fd, Destination("/", is_new=False), Placing())
        for layer in layers:
            _hide(layer, base, target_fd)
    finally:
        os.close(target_fd)
        os.close(root_fd)


def _hide(layer: Path, base: Sequence[Path], target_fd: int) -> None:
    layer_fd = os.open(layer, _DIRECTORY)
    try:
        for directory in walk(layer_fd):
            if directory.path and is_opaque(directory.fd):
                _mark_opaque(target_fd, directory.path)
            for found in directory.files:
                if is_whiteout(found.stat) and _has(base, found.path):
                    _mark_deleted(target_fd, directory.path, found.name)
    finally:
        os.close(layer_fd)


def _has(layers: Sequence[Path], path: bytes) -> bool:
    """Whether the base could show something there. A needless mark would show in a listing."""
    for layer in layers:
        layer_fd = os.open(layer, _DIRECTORY)
        try:
            fd = open_in_root(layer_fd, path, os.O_PATH, follow=False, resolve=STRICTLY_BELOW)
            os.close(fd)
        except OSError:
            continue
        else:
            return True
        finally:
            os.close(layer_fd)
    return False


def _mark_deleted(target_fd: int, directory: bytes, name: bytes) -> None:
    """A deletion holds unless a later layer made something there again."""
    try:
        fd = open_in_root(target_fd, directory, _DIRECTORY, resolve=STRICTLY_BELOW)
    except OSError:
        return
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            _mark_opaque(target_fd, join(directory, name))
    except FileNotFoundError:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)
    finally:
        os.close(fd)


def _mark_opaque(target_fd: int, path: bytes) -> None:
    try:
        fd = open_in_root(target_fd, path, _DIRECTORY, resolve=STRICTLY_BELOW)
    except OSError:
        return
    try:
        os.setxattr(fd, OPAQUE_XATTR, b"y")
    finally:
        os.close(fd)
