"""Creating a container, and pulling its image first where that is needed."""

from __future__ import annotations

import os
import sys

from pier.cli.container_body import container_body
from pier.cli.container_flags import WINDOWS_ONLY
from pier.cli.faults import ApiFault, Fault
from pier.cli.session import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.container_body import Json
    from pier.cli.session import Session

PULL = ("always", "missing", "never")
_NOT_FOUND = 404
_REFUSED, _MISSING = 125, 127


def build_body(session: Session, options: Options, arguments: list[str]) -> Json:
    """Return the body for `IMAGE [COMMAND...]`; raise Fault with exit code 125."""
    pull = options.text("pull") or "missing"
    if pull not in PULL:
        raise Fault(
            f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"',
            125,
        )
    wrong = [flag for flag in WINDOWS_ONLY if flag in options.given]
    if wrong:
        raise Fault(
            "\n".join(
                f'"--{flag}" is only supported on a Docker daemon running on windows, but the'
                " Docker daemon is running on linux"
                for flag in wrong
            )
        )
    try:
        body = container_body(options, arguments[0], arguments[1:])
    except (ValueError, OSError) as error:
        raise Fault(_in_words(error), 125) from error
    _add_proxies(session, body)
    return body


def _in_words(error: ValueError | OSError) -> str:
    if isinstance(error, OSError):
        return f"open {error.filename}: {(error.strerror or '').lower()}"
    return str(error)


def _add_proxies(session: Session, body: Json) -> None:
    proxies = session.settings.table("proxies")
    if not proxies:
        return
    from pier.cli.values.variables import proxy_variables

    taken = [text.partition("=")[0] for text in body.get("Env", [])]
    variables = proxy_variables(proxies, session.endpoint.address, taken)
    if variables:
        body["Env"] = body.get("Env", []) + variables


class ContainerIdFile:
    """`--cidfile`: must not exist before, does not remain if nothing was created."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = None
        if not path:
            return
        try:
            self._file = open(path, "x", encoding="utf-8")  # noqa: SIM115 - closed by write, drop
        except FileExistsError:
            raise Fault(
                "container ID file found, make sure the other container isn't running or"
                f" delete {path}"
            ) from None
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = f"failed to create the container ID file: {_in_words(error)}"
            raise Fault(reason, _MISSING if missing else _REFUSED) from error

    def write(self, container_id: str) -> None:
        if self._file is not None:
            with self._file:
                self._file.write(container_id)
            self._file = None

    def drop(self) -> None:
        """Leave no file that names nothing."""
        if self._file is not None:
            self._file.close()
            os.unlink(self._path)


def create(session: Session, options: Options, body: Json) -> str:
    """Create the container and return its ID; its image is pulled as `--pull` says."""
    id_file = ContainerIdFile(options.text("cidfile"))
    try:
        answer = _create(session, options, body)
        id_file.write(answer["Id"])
    finally:
        id_file.drop()
    return str(answer["Id"])


def _create(session: Session, options: Options, body: Json) -> Json:
    from pier.cli.references import check_reference

    image, pull = body["Image"], options.text("pull") or "missing"
    try:
        check_reference(image)
    except ValueError as error:
        raise Fault(str(error)) from error
    platform = options.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    if pull == "always":
        _pull(session, options, image, platform)
    _warn(options)
    query = {"name": options.text("name") or None, "platform": platform or None}
    try:
        answer = session.client.post("/containers/create", query, body)
    except ApiFault as fault:
        if pull != "missing" or not _lacks_image(fault):
            raise
        if not options.on("quiet"):
            from pier.cli.references import familiar

            err(f"Unable to find image '{familiar(image)}' locally")
        _pull(session, options, image, platform)
        answer = session.client.post("/containers/create", query, body)
    for warning in answer.get("Warnings") or ():
        err(f"WARNING: {warning}")
    return dict(answer)


def _lacks_image(fault: ApiFault) -> bool:
    """The daemon has none of that name, or only that of another platform."""
    text = fault.message.lower()
    words = ("no such image", "does not match the specified platform")
    return fault.status == _NOT_FOUND and any(each in text for each in words)


def _warn(options: Options) -> None:
    for server in options.texts("dns"):
        if server.startswith("127.") or server == "::1":
            err(f"WARNING: Localhost DNS setting (--dns={server}) may fail in containers.")


def _pull(session: Session, options: Options, image: str, platform: str) -> None:
    from pier.cli.pulling import pull_image

    pull_image(session, image, platform=platform, stream=sys.stderr, quiet=options.on("quiet"))
