"""`pier system dial-stdio`: our stdin and stdout become a connection to the daemon.

What `ssh://` endpoints run on the far side.
"""

from __future__ import annotations

from pier.cli.command import Command
from pier.cli.streams import Hijacked, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def dial_stdio(session: Session, _options: Options, _arguments: list[str]) -> None:
    Hijacked(session.client.dial(), Output(terminal=True), stdin=0).run()


COMMANDS = {
    "system dial-stdio": Command(dial_stdio, "", "Pass stdin and stdout on to the daemon", (0, 0))
}
