"""`pier manifest inspect`: what a registry has under a name, asked through the daemon.

In Docker's form, with one difference: an OCI index keeps its own media type.
"""

from __future__ import annotations

from base64 import b64encode

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.credentials import auth_header
from pier.cli.faults import ApiFault, Fault
from pier.cli.jsonlite import format_json, parse_json
from pier.cli.references import Name
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

    Document = dict[str, Any]  # JSON of a registry

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant", "features")
_OCI = "application/vnd.oci.image.manifest.v1+json"


def inspect(session: Session, options: Options, arguments: list[str]) -> None:
    name = _parse(arguments[-1])
    found = _fetch(session, name.full + (name.ending or ":latest"), arguments[-1])
    document = parse_json(found.data)
    if options.on("verbose"):
        shown = _verbose(session, name, found, document)
        out(format_json(shown, indent=4).replace("    ", "\t"))
    elif "manifests" in document:
        out(format_json(_list(document, found.media_type), indent=3))
    else:
        out(format_json(document, indent=4).replace("    ", "\t"))


def _parse(text: str) -> Name:
    try:
        return Name(text)
    except ValueError as error:
        raise Fault(str(error)) from error


class _Found:
    """A manifest or index, byte by byte."""

    __slots__ = ("data", "digest", "media_type")

    def __init__(self, data: bytes, media_type: str, digest: str) -> None:
        self.data = data
        self.media_type = media_type
        self.digest = digest


def _fetch(session: Session, reference: str, typed: str) -> _Found:
    try:
        response = session.client.request(
            "GET",
            f"/distribution/{quote(reference, '/:@')}/manifest",
            None,
            None,
            auth_header(session.settings, typed),
        )
    except ApiFault as error:
        if error.status == 404 and "page not found" in error.message:
            raise Fault("this daemon does not hand out manifests: it is not Pier's") from error
        if error.status == 404:
            raise Fault(f"no such manifest: {typed}") from error
        raise
    headers = response.headers
    data = response.read()
    return _Found(data, headers["content-type"], headers["docker-content-digest"])


def _list(document: Document, media_type: str) -> Document:
    entries = [
        {
            **{key: entry[key] for key in ("mediaType", "size", "digest") if key in entry},
            "platform": _platform(entry.get("platform") or {}),
        }
        for entry in document["manifests"]
    ]
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}


def _platform(platform: Document) -> Document:
    return {key: platform[key] for key in _PLATFORM if key in platform}


def _verbose(session: Session, name: Name, found: _Found, document: Document) -> object:
    """One manifest with its descriptor; of an index, those of all its entries."""
    if "manifests" not in document:
        reference = name.full + (name.ending or ":latest")
        path = f"/distribution/{quote(reference, '/:@')}/json"
        headers = auth_header(session.settings, name.full)
        answer = parse_json(session.client.request("GET", path, None, None, headers).read())
        return _described(name.short + name.ending, found, document, answer["Platforms"][0])
    shown = []
    for entry in document["manifests"]:
        child = _fetch(session, f"{name.full}@{entry['digest']}", name.full)
        reference = f"{name.short}{name.ending}@{entry['digest']}"
        platform = entry.get("platform") or {}
        shown.append(_described(reference, child, parse_json(child.data), platform))
    return shown


def _described(reference: str, found: _Found, document: Document, platform: Document) -> Document:
    descriptor = {
        "mediaType": found.media_type,
        "digest": found.digest,
        "size": len(found.data),
        "platform": _platform(platform),
    }
    kind = "OCIManifest" if found.media_type == _OCI else "SchemaV2Manifest"
    raw = b64encode(found.data).decode("ascii")
    return {"Ref": reference, "Descriptor": descriptor, "Raw": raw, kind: document}


COMMANDS = {
    "manifest inspect": Command(
        inspect,
        "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Show what a registry has under a name",
        (1, 2),
        (
            Flag("insecure", "bool", "Accepted for Docker's sake; the daemon decides"),
            Flag("verbose,v", "bool", "Show descriptors, platforms and the raw bytes too"),
        ),
    )
}
