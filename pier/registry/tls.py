"""TLS contexts and proxies for outgoing connections, made once per set of certificates."""

import ipaddress
import ssl
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from pier.registry.failures import InvalidHosts
from pier.registry.hosts import Trust


def context(trust: Trust) -> ssl.SSLContext:
    """The context for a host; raises InvalidHosts when a file of it cannot be used.

    Made once, and again when one of the files has changed.
    """
    pairs = [path for pair in trust.certificates for path in (pair.certificate, pair.key) if path]
    try:
        stamps = tuple(path.stat().st_mtime_ns for path in (*trust.authorities, *pairs))
    except OSError as error:
        raise InvalidHosts(str(error.filename), str(error.strerror)) from error
    return _context(trust, stamps)


@lru_cache(maxsize=256)
def _context(trust: Trust, _stamps: tuple[int, ...]) -> ssl.SSLContext:
    made = ssl.create_default_context()
    try:
        for authority in trust.authorities:
            made.load_verify_locations(authority)
        for pair in trust.certificates:
            made.load_cert_chain(pair.certificate, pair.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidHosts(", ".join(map(str, trust.authorities)), str(error)) from error
    if trust.skip_verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy the environment wants for `url`, as Go's clients read HTTPS_PROXY and NO_PROXY.

    Never one for a loopback address. aiohttp's own `trust_env` is not used: it would also
    send credentials found in ~/.netrc.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = {scheme: _variable(environ, f"{scheme}_proxy") for scheme in ("http", "https", "no")}
    proxy = proxies[parts.scheme] if parts.scheme in ("http", "https") else ""
    if not proxy or host == "localhost":
        return None
    if _bypassed(host, proxies["no"]) or _named(host, parts.port, proxies["no"]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper(), "") or environ.get(name, "")


def _bypassed(host: str, no_proxy: str) -> bool:
    """Loopback addresses, and addresses in a network that NO_PROXY lists (`10.0.0.0/8`)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    for entry in no_proxy.split(","):
        try:
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _named(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY lists the host, a domain above it, or everything (`*`)."""
    for entry in no_proxy.lower().split(","):
        name, _, only_port = entry.strip().lstrip("*").lstrip(".").partition(":")
        if only_port and only_port != str(port):
            continue
        if entry.strip() == "*" or (name and (host == name or host.endswith("." + name))):
            return True
    return False
