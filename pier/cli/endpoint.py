"""Which daemon this invocation talks to, and with what keys.

`-H`, then `--context`, PIER_HOST, DOCKER_HOST, DOCKER_CONTEXT, the current context of
config.json, and at last Pier's own socket.
"""

from __future__ import annotations

import os

from pier.cli.address import DEFAULT_HOST, Endpoint, TlsFiles, parse_host
from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.settings_file import SettingsFile


class GlobalFlags:
    """The flags before the command that decide where to go."""

    __slots__ = ("context", "host", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify")

    def __init__(self) -> None:
        self.host = ""
        self.context = ""
        self.tls = False
        self.tlsverify = False
        self.tlscacert = ""
        self.tlscert = ""
        self.tlskey = ""


def context_name(flags: GlobalFlags, settings: SettingsFile) -> str:
    """Return the name of the context in force; `default` means none."""
    if flags.context:
        return flags.context
    if flags.host or os.environ.get("PIER_HOST") or os.environ.get("DOCKER_HOST"):
        return "default"
    return os.environ.get("DOCKER_CONTEXT") or settings.text("currentContext") or "default"


def find_endpoint(flags: GlobalFlags, settings: SettingsFile) -> Endpoint:
    """Decide where the daemon is; raise Fault if the choice names nothing."""
    if flags.host and flags.context:
        raise Fault("conflicting options: cannot specify both --host and --context")
    name = context_name(flags, settings)
    if name != "default":
        from pier.cli.contexts import context_endpoint

        return context_endpoint(settings.directory, name)
    address = flags.host or os.environ.get("PIER_HOST") or os.environ.get("DOCKER_HOST")
    address = parse_host(address) if address else DEFAULT_HOST
    return Endpoint(address, _tls_files(flags, settings) if address.startswith("tcp") else None)


def _tls_files(flags: GlobalFlags, settings: SettingsFile) -> TlsFiles | None:
    verify = flags.tlsverify or bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or flags.tls or os.environ.get("DOCKER_TLS")):
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or settings.directory
    chosen = {"ca": flags.tlscacert, "cert": flags.tlscert, "key": flags.tlskey}
    for kind, path in chosen.items():
        default = f"{directory}/{kind}.pem"
        chosen[kind] = path or (default if os.path.exists(default) else "")
    return TlsFiles(chosen["ca"], chosen["cert"], chosen["key"], verify=verify)
