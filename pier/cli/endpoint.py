"""Which daemon this invocation talks to, and with what keys.

`-H`, then `--context`, PIER_HOST, DOCKER_HOST, DOCKER_CONTEXT, the current context of
config.json, and at last Pier's own socket.
"""

from __future__ import annotations

import os

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from pier.cli.settings_file import SettingsFile

DEFAULT_HOST = "unix:///run/pier/pier.sock"


class Endpoint:
    """An address `scheme://...`; `tls` says where the keys are, if it is encrypted."""

    __slots__ = ("address", "tls")

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        self.address = address
        self.tls = tls


class TlsFiles:
    """Paths of PEM files ('' where there is none), and whether the daemon must be verified."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str, cert: str, key: str, *, verify: bool) -> None:
        self.ca = ca
        self.cert = cert
        self.key = key
        self.verify = verify

    def context(self) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context(cafile=self.ca or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert and self.key:
            context.load_cert_chain(self.cert, self.key)
        return context


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


def parse_host(text: str) -> str:
    """Return `text` as `scheme://place`, with Docker's defaults filled in."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", text.strip()
    match scheme:
        case "unix":
            return f"unix://{rest or DEFAULT_HOST.removeprefix('unix://')}"
        case "tcp" | "http" | "https":
            return f"tcp://{_with_port(rest)}"
        case "ssh":
            return f"ssh://{rest}"
    raise Fault(f"unable to parse docker host `{text}`")


def _with_port(place: str) -> str:
    host, colon, port = place.rpartition(":")
    if colon and port.split("/")[0].isdigit():
        return f"{host or '127.0.0.1'}:{port}"
    return f"{place.rstrip(':') or '127.0.0.1'}:2375"
