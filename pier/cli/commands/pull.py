"""`pier pull` and `pier push`."""

from __future__ import annotations

import os
import sys

from pier.cli.client import json_stream, quote
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.references import Name
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session


def _parse(text: str) -> Name:
    try:
        return Name(text)
    except ValueError as error:
        raise Fault(str(error)) from error


def pull(session: Session, options: Options, names: list[str]) -> None:
    from pier.cli.pulling import pull_image

    name, quiet = _parse(names[0]), options.on("quiet")
    if options.on("all-tags") and name.ending:
        raise Fault("tag can't be used with --all-tags/-a")
    if not options.on("all-tags") and not name.ending and not quiet:
        out("Using default tag: latest")
    sys.stdout.flush()
    pull_image(
        session,
        names[0],
        platform=options.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", ""),
        stream=sys.stdout,
        quiet=quiet,
        all_tags=options.on("all-tags"),
    )
    ending = name.ending or ("" if options.on("all-tags") else ":latest")
    out(name.full + ending)


def push(session: Session, options: Options, names: list[str]) -> None:
    from pier.cli.credentials import auth_header
    from pier.cli.progress import raise_errors, show_progress

    name, quiet = _parse(names[0]), options.on("quiet")
    if options.on("all-tags") and name.ending:
        raise Fault("tag can't be used with --all-tags/-a")
    if name.digest:
        raise Fault("cannot push a digest reference")
    tag = "" if options.on("all-tags") else name.tag or "latest"
    if not options.on("all-tags") and not name.tag and not quiet:
        out("Using default tag: latest")
    sys.stdout.flush()
    query: dict[str, str | None] = {"tag": tag or None}
    if options.text("platform"):
        from pier.cli.platforms import platform_json

        _note(_ONE_PLATFORM)
        query["platform"] = platform_json(options.text("platform"))
    headers = auth_header(session.settings, names[0])
    path = f"/images/{quote(name.full, '/:')}/push"
    messages = json_stream(session.client.request("POST", path, query, b"", headers))
    if quiet:
        raise_errors(messages)
        out(name.full + (f":{tag}" if tag else ""))
    else:
        notes: list[str] = []
        show_progress(messages, sys.stdout, on_aux=lambda message: _heed(message["aux"], notes))
        for note in notes:
            _note(note)


def _heed(aux: dict[str, Any], notes: list[str]) -> None:
    """What was pushed is in the last line already; that it is not all there was is news."""
    if aux.get("manifestPushedInsteadOfIndex"):
        index, chosen = aux["originalIndex"]["digest"], aux["selectedManifest"]["digest"]
        notes.append(f"{_NOT_ALL}\n{index} -> {chosen}")


def _note(text: str) -> None:
    lines = text.replace("\n", "\n         ")
    sys.stdout.write(f"\n Info -> {lines}\n")
    sys.stdout.flush()


_ONE_PLATFORM = (
    "Using --platform pushes only the specified platform manifest of a multi-platform image "
    "index.\nOther components, like attestations, will not be included.\n"
    "To push the complete multi-platform image, remove the --platform flag.\n"
)
_NOT_ALL = (
    "Not all multiplatform-content is present and only the available single-platform image was "
    "pushed"
)
_TRUST = Flag("disable-content-trust", "bool", "Accepted for Docker's sake; does nothing", True)
COMMANDS = {
    "image pull": Command(
        pull,
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry",
        (1, 1),
        (
            Flag("all-tags,a", "bool", "Download every tag of the repository"),
            _TRUST,
            Flag("platform", "string", "Platform to download, where there are several"),
            Flag("quiet,q", "bool", "Say only what was downloaded"),
        ),
        aliases="pier image pull, pier pull",
    ),
    "image push": Command(
        push,
        "[OPTIONS] NAME[:TAG]",
        "Upload an image to a registry",
        (1, 1),
        (
            Flag("all-tags,a", "bool", "Upload every tag of the repository"),
            _TRUST,
            Flag("platform", "string", "Upload this platform only, os[/arch[/variant]]"),
            Flag("quiet,q", "bool", "Say only what was uploaded"),
        ),
        aliases="pier image push, pier push",
    ),
}
