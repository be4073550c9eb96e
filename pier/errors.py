"""What can go wrong, in the kinds the API can express.

Raise a subclass defined beside the code that raises it; its constructor writes the message.
Clients match on these words (docker-py tells a missing image from a missing container by them,
`docker run` derives its exit code from them), so a message is part of the protocol and is pinned
by a test. `pier.api.app` maps kinds to HTTP status codes, in one table.
"""


class PierError(Exception):
    """An error meant for the client. Anything else is a bug and becomes a 500."""


def in_context(error: PierError, doing: str) -> PierError:
    """The same error, thus of the same kind, whose words begin with what was being done."""
    error.args = (f"{doing}: {error}",)
    return error


class InvalidArgument(PierError):
    """The request itself is wrong; sending it again cannot help. 400."""


class Unauthorized(PierError):
    """Credentials are missing or wrong. 401."""


class Forbidden(PierError):
    """The request is understood and never allowed. 403."""


class NotFound(PierError):
    """What the request names does not exist. 404."""


class Conflict(PierError):
    """The request is fine but the present state forbids it. 409."""


class NotModified(PierError):
    """The state asked for is the state already there. 304, without a body."""


class NotSupported(PierError):
    """Docker has it, Pier does not (see docs/compatibility.md). 501."""


class Unavailable(PierError):
    """Something the request needs is not there now: a registry, a swarm. 503."""


class Failed(PierError):
    """The request was right and the attempt failed, for a reason the client should read. 500."""
