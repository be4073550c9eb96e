"""Where a daemon can be: `scheme://place`, and the keys it is spoken to with."""

from __future__ import annotations

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

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
