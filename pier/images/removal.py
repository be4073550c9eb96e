"""Untagging and deleting images: Docker's rules, and its words where it refuses.

A *reference* is taken away alone while others remain. An image goes with its last one, unless a
container needs it. By ID everything goes at once, unless that would surprise somebody; `force`
overrules all but running containers and images made from this one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pier.errors import Conflict
from pier.images.lookup import is_id_of
from pier.images.model import SHORT_ID, Image, Removed
from pier.images.records import ImageRecords
from pier.oci.reference import Reference, parse_reference

Announce = Callable[[str, Image, str], None]
"""Action, image and name: an event."""


class ReferenceInUse(Conflict):
    def __init__(self, name: str, container: str, image: Image) -> None:
        super().__init__(
            f'conflict: unable to remove repository reference "{name}" (must force) - container '
            f"{container[:SHORT_ID]} is using its referenced image {image.short_id}"
        )


class ImageInUse(Conflict):
    """`by_container` tells a refusal for a container's sake from others."""

    def __init__(self, image: Image, why: str, *, hard: bool, by_container: bool = False) -> None:
        must = "cannot" if hard else "must"
        super().__init__(f"conflict: unable to delete {image.short_id} ({must} be forced) - {why}")
        self.by_container = by_container


@dataclass(frozen=True, slots=True)
class Removal:
    """One removal under way. Call inside a transaction; collect files after it."""

    records: ImageRecords
    announce: Announce
    removed: list[Removed]

    def remove(self, name: str, image: Image, *, force: bool, prune: bool) -> None:
        """Remove what `name` (which means `image`) stands for. Raises Conflict kinds."""
        if is_id_of(name, image):
            self._remove_id(image, force=force, prune=prune)
        else:
            self._remove_reference(name, image, force=force, prune=prune)

    def _remove_reference(self, name: str, image: Image, *, force: bool, prune: bool) -> None:
        reference = parse_reference(name).tagged()
        references = [parse_reference(text) for text in self.records.references(image.id)]
        if not force and is_single(references):
            for user in self.records.users(image.id)[:1]:
                raise ReferenceInUse(name, user["container"], image)
        self._untag(image, stored_form(reference))
        if reference.tag and not self._has_tag_of(image, reference.name):
            self._untag_digests(image, reference.name)
        if not self.records.references(image.id):
            self._delete(image, force=force, prune=prune, quiet=True)

    def _has_tag_of(self, image: Image, name: str) -> bool:
        """Whether the image still has a tag of the repository `name`."""
        left = (parse_reference(text) for text in self.records.references(image.id))
        return any(each.name == name and not each.digest for each in left)

    def _untag_digests(self, image: Image, name: str) -> None:
        """With its last tag a repository's digests go too: nobody wrote them."""
        for text in self.records.references(image.id):
            if parse_reference(text).name == name:
                self._untag(image, parse_reference(text))

    def _remove_id(self, image: Image, *, force: bool, prune: bool) -> None:
        references = [parse_reference(text) for text in self.records.references(image.id)]
        if is_single(references):
            self._check(image, force=force, single=True)
            for reference in references:
                self._untag(image, reference)
        self._delete(image, force=force, prune=prune, quiet=False)

    def _delete(self, image: Image, *, force: bool, prune: bool, quiet: bool) -> None:
        """Delete the image, and then its parents that nothing else holds.

        quiet: if a container, or a tag that came meanwhile, still holds it, leave it there.
        """
        try:
            self._check(image, force=force, single=False)
        except ImageInUse as conflict:
            if quiet and (conflict.by_container or self._held(image)):
                return
            raise
        for text in self.records.references(image.id):
            self._untag(image, parse_reference(text))
        self.records.delete(image.id)
        self.removed.append(Removed("Deleted", image.id))
        self.announce("delete", image, image.id)
        parent = self.records.find(image.parent) if prune and image.parent else None
        if parent and not self._held(parent):
            self._delete(parent, force=False, prune=True, quiet=True)

    def _held(self, image: Image) -> bool:
        """It has a name, or images were made from it."""
        return bool(self.records.references(image.id) or self.records.children(image.id))

    def _check(self, image: Image, *, force: bool, single: bool) -> None:
        """Raise the first conflict. single: its one reference does not count as one."""
        if self.records.children(image.id):
            raise ImageInUse(image, "image has dependent child images", hard=True)
        users = self.records.users(image.id)
        for user in users:
            if user["running"]:
                why = f"image is being used by running container {user['container'][:SHORT_ID]}"
                raise ImageInUse(image, why, hard=True, by_container=True)
        if force:
            return
        if not single and len(self.records.references(image.id)) > 1:
            raise ImageInUse(image, "image is referenced in multiple repositories", hard=False)
        if users:
            why = f"image is being used by stopped container {users[0]['container'][:SHORT_ID]}"
            raise ImageInUse(image, why, hard=False, by_container=True)

    def _untag(self, image: Image, reference: Reference) -> None:
        self.records.remove_tag(str(reference))
        self.removed.append(Removed("Untagged", reference.familiar()))
        self.announce("untag", image, image.id)


def stored_form(reference: Reference) -> Reference:
    """A name with both tag and digest is kept by its digest."""
    return reference.with_digest(reference.digest) if reference.digest else reference


def is_single(references: Sequence[Reference]) -> bool:
    """At most one reference, or one tag with the digests of its own repository."""
    if len(references) <= 1:
        return True
    tags = [reference for reference in references if reference.digest is None]
    repositories = {reference.name for reference in references if reference.digest}
    if len(tags) > 1:
        return False
    name = (tags or references)[0].name
    return repositories == {name}


def prunable(
    image: Image,
    *,
    dangling: bool,
    until_ns: int,
    labels: Sequence[str],
    not_labels: Sequence[str],
    has_children: bool,
) -> bool:
    """Whether a prune may take the image, as far as it itself tells. Pure."""
    if has_children or (dangling and image.tags):
        return False
    if until_ns and image.created_ns > until_ns:
        return False
    has = [_has_label(image, label) for label in labels]
    return all(has) and not any(_has_label(image, label) for label in not_labels)


def _has_label(image: Image, label: str) -> bool:
    """`key` or `key=value`."""
    key, equals, value = label.partition("=")
    found = image.config.run.labels.get(key)
    return found is not None and (not equals or found == value)
