"""Why a connection failed: in words people search for, and whether another attempt may help."""

import os
import ssl

import aiohttp


def speaks_no_tls(cause: BaseException | None, *, other_port: bool) -> bool:
    """Whether https failed in a way that plain http may not.

    other_port: it would be another one (80, not 443), so that a refusal here is none there.
    """
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return False
    if isinstance(cause, aiohttp.ClientConnectorError):
        refused = isinstance(cause.os_error, ConnectionRefusedError)
        # a refusal comes at once, so asking again costs nothing; Docker names the second one
        return other_port or refused or isinstance(cause, aiohttp.ClientSSLError)
    if isinstance(cause, TimeoutError) and other_port:
        return True
    return isinstance(cause, ssl.SSLError | aiohttp.ClientError | ConnectionError)


def is_final(cause: BaseException | None) -> bool:
    """Whether another attempt would meet the same: nobody there, or no trust in each other."""
    refused = isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError)
    return refused or "certificate" in str(cause)


def words(error: BaseException) -> str:
    """What went wrong, in the words people search for."""
    text = str(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"proxyconnect tcp: {error.message}"
    if "ALERT_BAD_CERTIFICATE" in text or "CERTIFICATE_REQUIRED" in text:
        return f"remote error: tls: certificate required ({text})"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "http: server gave HTTP response to HTTPS client"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"x509: certificate signed by unknown authority ({text})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        where = f"{error.host}:{error.port}"
        number = error.os_error.errno
        return f"dial tcp {where}: connect: {os.strerror(number).lower() if number else text}"
    if isinstance(error, TimeoutError):
        return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
    return text or type(error).__name__
