"""Errors of the registry, as the distribution specification codes them."""

from pier.registry.protocol import ErrorEntry


class Fault(Exception):
    """An answer that is an error: status, code and words."""

    def __init__(self, status: int, code: str, message: str, detail: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.entry = ErrorEntry(code, message, detail)
        self.headers: dict[str, str] = {}


def name_invalid(name: str) -> Fault:
    return Fault(400, "NAME_INVALID", "invalid repository name", {"name": name})


def name_unknown(name: str) -> Fault:
    return Fault(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": name})


def manifest_unknown(reference: str) -> Fault:
    return Fault(404, "MANIFEST_UNKNOWN", "manifest unknown", {"reference": reference})


def manifest_invalid(why: str) -> Fault:
    return Fault(400, "MANIFEST_INVALID", f"manifest invalid: {why}")


def manifest_blob_unknown(digest: str) -> Fault:
    words = "manifest references a blob that is unknown to registry"
    return Fault(404, "MANIFEST_BLOB_UNKNOWN", words, {"digest": digest})


def blob_unknown(digest: str) -> Fault:
    return Fault(404, "BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})


def digest_invalid(why: str) -> Fault:
    return Fault(400, "DIGEST_INVALID", f"provided digest did not match uploaded content: {why}")


def upload_unknown() -> Fault:
    return Fault(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")


def range_invalid(why: str) -> Fault:
    return Fault(416, "BLOB_UPLOAD_INVALID", f"blob upload invalid: {why}")


def unsupported(why: str) -> Fault:
    return Fault(405, "UNSUPPORTED", why)


def too_many_requests(why: str) -> Fault:
    fault = Fault(429, "TOOMANYREQUESTS", why)
    fault.headers["Retry-After"] = "1"
    return fault
