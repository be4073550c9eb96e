"""`pier rmi` and `pier tag`: the names of images."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.faults import ApiFault, Fault
from pier.cli.references import Name
from pier.cli.session import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session

_NOT_FOUND = 404


def remove(session: Session, options: Options, names: list[str]) -> int:
    query: dict[str, bool | list[str]] = {
        "force": options.on("force"),
        "noprune": options.on("no-prune"),
    }
    if options.texts("platform"):
        from pier.cli.platforms import platform_json

        query["platforms"] = [platform_json(text) for text in options.texts("platform")]
    failed = 0
    for name in names:
        try:
            removed = session.client.delete(f"/images/{quote(name, '/:@')}", query)
        except ApiFault as fault:
            err(fault.text)
            if fault.status != _NOT_FOUND or not options.on("force"):
                failed = 1
            continue
        for item in removed or ():
            kind = "Deleted" if item.get("Deleted") else "Untagged"
            out(f"{kind}: {item[kind]}")
    return failed


def tag(session: Session, _options: Options, names: list[str]) -> None:
    source, target = names
    try:
        name = Name(target)
    except ValueError as error:
        wrong = f'Error parsing reference: "{target}" is not a valid repository/tag'
        raise Fault(f"{wrong}: {error}") from error
    if name.digest:
        raise Fault("refusing to create a tag with a digest reference")
    query = {"repo": name.full, "tag": name.tag or "latest"}
    session.client.post(f"/images/{quote(source, '/:@')}/tag", query)


COMMANDS = {
    "image rm": Command(
        remove,
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove images, or names of images",
        (1, -1),
        (
            Flag("force,f", "bool", "Remove it even if something uses it"),
            Flag("no-prune", "bool", "Keep parents that have no name"),
            Flag("platform", "strings", "Remove only this platform of it, os[/arch[/variant]]"),
        ),
        aliases="pier image rm, pier image remove, pier rmi",
    ),
    "image tag": Command(
        tag,
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Give an image another name",
        (2, 2),
        aliases="pier image tag, pier tag",
    ),
}
