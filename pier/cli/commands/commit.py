"""`pier commit`: an image of what a container has become."""

from __future__ import annotations

from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.references import Name
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def commit(session: Session, options: Options, arguments: list[str]) -> None:
    container, *reference = arguments
    repo = tag = ""
    if reference and reference[0]:
        try:
            name = Name(reference[0])
        except ValueError as error:
            raise Fault(str(error)) from error
        repo, tag = name.full, name.tag or "latest"
    pause = options.on("pause") and not options.on("no-pause")
    query = {
        "container": container,
        "repo": repo or None,
        "tag": tag or None,
        "comment": options.text("message") or None,
        "author": options.text("author") or None,
        "changes": options.texts("change") or None,
        "pause": None if pause else "0",
    }
    out(session.client.post("/commit", query)["Id"])


COMMANDS = {
    "container commit": Command(
        commit,
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Make an image of a container",
        (1, 2),
        (
            Flag("author,a", "string", "Author of the image"),
            Flag("change,c", "list", "Apply this instruction of a Dockerfile"),
            Flag("message,m", "string", "Comment of the image"),
            Flag("no-pause", "bool", "Do not pause the container meanwhile"),
            Flag("pause,p", "bool", "Pause the container meanwhile", True, hidden=True),
        ),
        aliases="pier container commit, pier commit",
    )
}
