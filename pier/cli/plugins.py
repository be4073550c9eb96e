"""Docker's client plugins, `docker-compose` above all, run against Pier's endpoint."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.session import Session

_DIRECTORIES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def run_plugin(session: Session, words: list[str]) -> None:
    """Become the plugin called `words[0]`; return if there is none."""
    name = words[0]
    if not name.replace("-", "").isalnum():
        return
    extra = session.settings.values.get("cliPluginsExtraDirs")
    directories = [f"{session.settings.directory}/cli-plugins", *_DIRECTORIES]
    directories += [str(item) for item in extra] if isinstance(extra, list) else []
    for directory in directories:
        path = f"{directory}/docker-{name}"
        if os.access(path, os.X_OK) and os.path.isfile(path):
            _become(session, path, words)


def _become(session: Session, path: str, words: list[str]) -> None:
    endpoint = session.endpoint
    environment = dict(os.environ)
    environment["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"] = sys.argv[0]
    environment["DOCKER_HOST"] = endpoint.address
    environment["DOCKER_CONFIG"] = session.settings.directory
    environment.pop("DOCKER_CONTEXT", None)
    if endpoint.tls and endpoint.tls.ca:
        environment["DOCKER_CERT_PATH"] = os.path.dirname(endpoint.tls.ca)
        environment["DOCKER_TLS_VERIFY"] = "1" if endpoint.tls.verify else ""
    sys.stdout.flush()
    os.execve(path, [path, *words], environment)  # noqa: S606 - the plugin takes over
