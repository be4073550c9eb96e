"""Where a registry's content can be had: mirrors in their order, the origin last.

Three sources, the first that knows the registry wins, except that certificates always add up:

    hosts.toml      <certs.d>/<host[:port]>/hosts.toml, as containerd reads it; `_default` for all
    daemon.json     mirrors of any registry: {"docker.io": ["https://mirror.example"], ...}
    nothing         the origin alone

and `<certs.d>/<host[:port]>/{*.crt, X.cert + X.key}` hold Docker's private authorities and client
certificates. A registry on a loopback address, or named insecure, may have any certificate or
none at all. Reads files; talks to nobody.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from pier.registry import hosts_toml
from pier.registry.credentials import HUB, HUB_HOST
from pier.registry.failures import InvalidHosts
from pier.registry.protocol import parse_http_url

DEFAULT_DIRECTORIES = (Path("/etc/docker/certs.d"), Path("/etc/containerd/certs.d"))
PULL, RESOLVE, PUSH = "pull", "resolve", "push"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    certificate: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What makes a host believable, and us to it."""

    authorities: tuple[Path, ...] = ()
    certificates: tuple[ClientCertificate, ...] = ()
    skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that speaks for a registry."""

    host: str
    """`host[:port]`."""
    schemes: tuple[str, ...] = ("https",)
    """To be tried in this order; http only where it was allowed."""
    prefix: str = "/v2"
    """Path before `/<name>/manifests/…`."""
    mirror: bool = False
    namespace: str = ""
    """The registry a mirror is asked about, as `?ns=`; "" to ask nothing."""
    trust: Trust = Trust()
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    connect_s: float | None = None
    """How long to wait for a connection, where that was said."""

    @property
    def insecure(self) -> bool:
        return "http" in self.schemes


class Hosts:
    """Knows which endpoints to try, in which order, for a registry."""

    def __init__(
        self,
        *,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        insecure: Iterable[str] = (),
        directories: Sequence[Path] = DEFAULT_DIRECTORIES,
    ) -> None:
        self._mirrors = {name: tuple(urls) for name, urls in (mirrors or {}).items()}
        for urls in self._mirrors.values():
            for url in urls:
                check_mirror(url)
        self._insecure = frozenset(entry.lower() for entry in insecure)
        self._insecure_networks = [_network(entry) for entry in self._insecure if "/" in entry]
        self._directories = tuple(directories)

    def endpoints(self, registry: str, capability: str = PULL) -> list[Endpoint]:
        """The servers to try for `registry` (`docker.io`, `host:5000`), the origin last.

        Raises InvalidHosts when its hosts.toml cannot be read.
        """
        found = self._from_toml(registry, capability)
        if found is not None:
            return found
        mirrors = self._mirrors.get(registry, ()) if capability != PUSH else ()
        return [*(self._mirror(url) for url in mirrors), self.origin(registry)]

    def origin(self, registry: str) -> Endpoint:
        host = HUB_HOST if registry == HUB else registry
        trust = self.trust(host)
        if registry != host:
            extra = self.trust(registry)
            trust = replace(
                trust,
                authorities=trust.authorities + extra.authorities,
                certificates=trust.certificates + extra.certificates,
            )
        if self.is_insecure(registry):
            schemes = ("https", "http")
            return Endpoint(host, schemes, trust=replace(trust, skip_verify=True))
        return Endpoint(host, trust=trust)

    def is_insecure(self, host: str) -> bool:
        """Whether plain HTTP and any certificate will do: loopback, or named by the operator."""
        if host.lower() in self._insecure:
            return True
        parts = parse_http_url(f"http://{host}")
        name = (parts.hostname or "") if parts else ""
        if name.lower() in self._insecure:
            return True
        address = _address(name)
        if address is None:
            return name == "localhost"
        return address.is_loopback or any(address in net for net in self._insecure_networks)

    def trust(self, host: str) -> Trust:
        """The certificates kept for `host` in Docker's form."""
        authorities: list[Path] = []
        certificates: list[ClientCertificate] = []
        for directory in self._directories_of(host):
            authorities += sorted(directory.glob("*.crt"))
            for certificate in sorted(directory.glob("*.cert")):
                key = certificate.with_suffix(".key")
                if not key.exists():
                    raise InvalidHosts(
                        str(certificate), f"missing key {key.name} for client certificate"
                    )
                certificates.append(ClientCertificate(certificate, key))
        return Trust(tuple(authorities), tuple(certificates))

    def _mirror(self, url: str) -> Endpoint:
        parts = urlsplit(url)
        host = parts.netloc
        trust = self.trust(host)
        if self.is_insecure(host):
            trust = replace(trust, skip_verify=True)
        prefix = parts.path.rstrip("/") + "/v2"
        return Endpoint(host, (parts.scheme,), prefix, mirror=True, trust=trust)

    def _from_toml(self, registry: str, capability: str) -> list[Endpoint] | None:
        for name in (registry, "_default"):
            for directory in self._directories_of(name):
                path = directory / "hosts.toml"
                if path.is_file():
                    return self._endpoints_of(hosts_toml.read(path), registry, capability)
        return None

    def _endpoints_of(
        self, toml: hosts_toml.HostsToml, registry: str, capability: str
    ) -> list[Endpoint]:
        able = [entry for entry in toml.hosts if capability in entry.capabilities]
        found = [self._toml_endpoint(entry, registry, mirror=True) for entry in able]
        if toml.server is None:
            return [*found, self.origin(registry)]
        return [*found, self._toml_endpoint(toml.server, registry, mirror=False)]

    def _toml_endpoint(
        self, entry: hosts_toml.HostEntry, registry: str, *, mirror: bool
    ) -> Endpoint:
        host = HUB_HOST if entry.host == HUB else entry.host
        kept = self.trust(host)
        trust = Trust(
            authorities=kept.authorities + entry.authorities,
            certificates=kept.certificates
            + tuple(ClientCertificate(pair.certificate, pair.key) for pair in entry.certificates),
            skip_verify=entry.skip_verify or self.is_insecure(host),
        )
        is_origin = host == (HUB_HOST if registry == HUB else registry)
        return Endpoint(
            host,
            (entry.scheme,),
            entry.prefix,
            mirror=mirror and not is_origin,
            namespace="" if is_origin else registry,
            trust=trust,
            headers=entry.headers,
            connect_s=entry.dial_timeout_s,
        )

    def _directories_of(self, host: str) -> list[Path]:
        """A port is also written `host_5000_` where a colon is not welcome in a file name."""
        name, colon, port = host.rpartition(":")
        spellings = [host, f"{name}_{port}_"] if colon else [host]
        paths = [directory / spelling for directory in self._directories for spelling in spellings]
        return [path for path in paths if path.is_dir()]


def check_mirror(url: str) -> None:
    """Raise InvalidHosts unless `url` can be a mirror, in dockerd's words."""
    if not url.startswith(("http://", "https://")):
        raise InvalidHosts(
            f"invalid mirror: {url!r}", 'no scheme specified: must use either "https" or "http"'
        )
    parts = parse_http_url(url)
    if parts is None or parts.query or parts.fragment:
        raise InvalidHosts(
            f"invalid mirror: {url!r}", "a host is needed; query, fragment and user are not allowed"
        )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError as error:
        raise InvalidHosts(f"insecure registry {entry}", str(error)) from error
