"""Which image a name means: a reference, an ID, or the beginning of one."""

import re

from pier.errors import InvalidArgument, PierError
from pier.images.model import Image, NoSuchImage
from pier.images.records import ImageRecords
from pier.oci.reference import Reference, find_reference, parse_reference

_ID = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")
_WHOLE_ID = re.compile(r"[a-f0-9]{64}")


def is_id_of(name: str, image: Image) -> bool:
    """Whether `name` found `image` by its ID."""
    match = _ID.fullmatch(name)
    return bool(match) and image.id.startswith(f"sha256:{match[1] if match else ''}")


def parse_name(name: str) -> Reference | None:
    """The reference a name may be, with its tag; None for one that can only be an ID."""
    reference = find_reference(name)
    return reference.tagged() if reference else None


def find_image(records: ImageRecords, name: str) -> Image | None:
    """A reference comes before an ID, as in Docker; an ambiguous ID is none."""
    reference = None if name.startswith("sha256:") else parse_name(name)
    image = _by_reference(records, reference) if reference else None
    match = _ID.fullmatch(name)
    if image or not match:
        return image
    found = records.find_prefixed(match[1])
    return records.find(found[0]) if len(found) == 1 else None


def _by_reference(records: ImageRecords, reference: Reference) -> Image | None:
    if reference.digest is None:
        return records.find_tagged(str(reference))
    return records.find_tagged(str(reference.with_digest(reference.digest)))


def find_damaged(records: ImageRecords, name: str) -> str:
    """The ID of the damaged image that a name meant; "" for none."""
    reference = None if name.startswith("sha256:") else parse_name(name)
    match = _ID.fullmatch(name)
    if reference and reference.digest:
        reference = reference.with_digest(reference.digest)
    found = records.damaged.find(str(reference or ""), match[1] if match else "")
    return found[0] if len(found) == 1 else ""


def missing(records: ImageRecords, name: str, *, tagged: bool = True) -> PierError:
    """The error for a name that means nothing, or that can be no name, in Docker's words."""
    damage = records.damaged.reason(find_damaged(records, name))
    if name.startswith("sha256:") or _WHOLE_ID.fullmatch(name):
        return NoSuchImage(name, damage)
    try:
        reference = parse_reference(name)
        return NoSuchImage((reference.tagged() if tagged else reference).familiar(), damage)
    except InvalidArgument as error:
        return error
