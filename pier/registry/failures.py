"""What can go wrong with a registry, in the words Docker's clients know."""

from collections.abc import Sequence
from http import HTTPStatus

from pier.errors import Failed, InvalidArgument, NotFound, Unauthorized, Unavailable
from pier.oci.digest import Digest
from pier.registry.protocol import ErrorEntry


class RegistryUnreachable(Unavailable):
    """No answer, or none in time: the next mirror may do better."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f'Get "{url}": {why}')


class RegistryUnauthorized(Unauthorized):
    """The credentials are missing, wrong, or not good for this."""

    def __init__(self, host: str, text: str = "") -> None:
        said = text or "unauthorized: authentication required"
        super().__init__(said if host in said else f"{said} ({host})")


class RegistryDenied(NotFound):
    """Docker answers 404 here: a private repository looks like one that does not exist."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(
            f"pull access denied for {name}, repository does not exist or may require "
            f"'docker login': {text or 'denied: requested access to the resource is denied'}"
        )


class PushDenied(Failed):
    def __init__(self, text: str) -> None:
        super().__init__(text or "denied: requested access to the resource is denied")


class ManifestUnknown(NotFound):
    def __init__(self, reference: str, text: str = "manifest unknown") -> None:
        super().__init__(f"manifest for {reference} not found: {text}")


class BlobUnknown(NotFound):
    def __init__(self, digest: Digest, host: str) -> None:
        super().__init__(f"blob {digest} is unknown to {host}")


class TooManyRequests(Unavailable):
    """The registry's own words: they say which limit, and how to raise it."""

    def __init__(self, text: str) -> None:
        super().__init__(text or "toomanyrequests: the registry asks to slow down")


class RegistryError(Failed):
    """Any other answer."""

    def __init__(self, url: str, status: int, entries: Sequence[ErrorEntry]) -> None:
        said = "\n".join(entry.text() for entry in entries)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        super().__init__(said or f"unexpected status from {url}: {status} {phrase}".rstrip())
        self.status = status
        self.codes = frozenset(entry.code.upper() for entry in entries)


class ServerTrouble(RegistryError):
    """A 5xx, after every attempt: the next mirror may do better."""


class BadAnswer(Failed):
    """The registry broke the protocol, by mistake or on purpose."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"registry {host}: {why}")


class WrongContent(BadAnswer):
    """Bytes that are not what the digest or the size promised."""


class UnsafeRedirect(BadAnswer):
    def __init__(self, host: str, target: str) -> None:
        super().__init__(host, f"redirects to {target}, which is not allowed")


class InvalidHosts(InvalidArgument):
    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
