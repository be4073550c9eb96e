"""`pier login` and `pier logout`."""

from __future__ import annotations

import sys

from pier.cli.command import Command, Flag
from pier.cli.credentials import erase_auth, find_auth, store_auth
from pier.cli.faults import Fault
from pier.cli.references import HUB, INDEX
from pier.cli.session import err, out
from pier.cli.terminal import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def _server(arguments: list[str]) -> str:
    if not arguments or arguments[0] in (HUB, "index.docker.io", INDEX):
        return INDEX
    text = arguments[0].removeprefix("https://").removeprefix("http://")
    return text.partition("/")[0]


def login(session: Session, options: Options, arguments: list[str]) -> None:
    server = _server(arguments)
    auth = _auth(session, options, server)
    answer = session.client.post("/auth", None, auth)
    if answer.get("IdentityToken"):
        auth["identitytoken"] = answer["IdentityToken"]
        auth["password"] = ""
    helper = store_auth(session.settings, server, auth)
    if not helper:
        err(
            f"\nWARNING! Your credentials are stored unencrypted in '{session.settings.path}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    if answer.get("Status"):
        out(answer["Status"])


def _auth(session: Session, options: Options, server: str) -> dict[str, str]:
    user, password = options.text("username"), options.text("password")
    if options.on("password-stdin"):
        if password:
            raise Fault("--password and --password-stdin are mutually exclusive")
        if not user:
            raise Fault("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().rstrip("\r\n")
    elif password:
        err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not user and not password:
        known = find_auth(session.settings, server)
        if known:
            err("Authenticating with existing credentials...\n")
            return known
    if not (user and password):
        user, password = _ask(user, password)
    return {"username": user, "password": password, "serveraddress": server}


def _ask(user: str, password: str) -> tuple[str, str]:
    if not is_terminal(0):
        raise Fault("Error: Cannot perform an interactive login from a non TTY device")
    from getpass import getpass

    if not user:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
    if not user:
        raise Fault("Error: Non-null Username Required")
    password = password or getpass("Password: ")
    if not password:
        raise Fault("Error: Password Required")
    return user, password


def logout(session: Session, _options: Options, arguments: list[str]) -> None:
    server = _server(arguments)
    known = erase_auth(session.settings, server)
    if known or server == INDEX:
        out(f"Removing login credentials for {server}")
    else:
        out(f"Not logged in to {server}")


COMMANDS = {
    "login": Command(
        login,
        "[OPTIONS] [SERVER]",
        "Log in to a registry, the hub if none is named",
        (0, 1),
        (
            Flag("password,p", "string", "Password or token"),
            Flag("password-stdin", "bool", "Read the password from stdin"),
            Flag("username,u", "string", "User name"),
        ),
    ),
    "logout": Command(logout, "[SERVER]", "Log out of a registry", (0, 1)),
}
