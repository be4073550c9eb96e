"""`pier manifest inspect`: what a registry has under a name, asked through the daemon."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.credentials import auth_header
from pier.cli.jsonlite import format_json, parse_json
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def inspect(session: Session, _options: Options, arguments: list[str]) -> None:
    """Show the descriptor and the platforms: GET /distribution says no more than that."""
    name = arguments[-1]
    response = session.client.request(
        "GET",
        f"/distribution/{quote(name, '/:@')}/json",
        None,
        None,
        auth_header(session.settings, name),
    )
    out(format_json(parse_json(response.read()), indent=3))


COMMANDS = {
    "manifest inspect": Command(
        inspect,
        "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Show what a registry has under a name",
        (1, 2),
        (
            Flag("insecure", "bool", "Accepted for Docker's sake; the daemon decides"),
            Flag("verbose,v", "bool", "Accepted for Docker's sake; does nothing"),
        ),
    )
}
