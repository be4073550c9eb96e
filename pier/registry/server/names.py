"""Reading what a request names: repository, reference, digest, page. Faults for what is wrong."""

from dataclasses import dataclass

from aiohttp import web

from pier.oci.digest import Digest, InvalidDigest, parse_digest
from pier.registry import protocol
from pier.registry.server import faults

_MAX_PAGE = 1000


def repository(request: web.Request) -> str:
    name = request.match_info["name"]
    if not protocol.valid_name(name):
        raise faults.name_invalid(name)
    return name


def digest(request: web.Request) -> Digest:
    return checked_digest(request.match_info["digest"])


def checked_digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InvalidDigest as error:
        raise faults.digest_invalid(str(error)) from error


def reference(request: web.Request) -> str:
    """A tag or a digest."""
    text = request.match_info["reference"]
    if ":" in text:
        return checked_digest(text)
    if not protocol.valid_tag(text):
        raise faults.manifest_unknown(text)
    return text


@dataclass(frozen=True, slots=True)
class Page:
    last: str
    count: int


def page(request: web.Request) -> Page:
    """`?n=&last=`; the count is bounded."""
    text = request.query.get("n", str(_MAX_PAGE))
    if not (text.isascii() and text.isdigit()):
        words = f"invalid number of results requested: {text!r}"
        raise faults.Fault(400, "PAGINATION_NUMBER_INVALID", words)
    return Page(request.query.get("last", ""), min(int(text[:9]), _MAX_PAGE))
