"""A client of every registry: what the engine pulls with, pushes with and asks.

    client = RegistryClient(Hosts(mirrors=…, insecure=…))
    repository = client.repository("docker.io", "library/busybox", credentials)
    manifest = await repository.manifest("latest")

`Repository` reads (mirrors in order, origin last), `Uploads` writes (origin only). What they
return has been verified against its digest; nothing is read without a bound.
"""

from collections.abc import Mapping
from dataclasses import replace

from pier.registry import protocol
from pier.registry.auth import Identity
from pier.registry.credentials import ANONYMOUS, Credentials
from pier.registry.failures import RegistryUnauthorized
from pier.registry.hosts import Hosts
from pier.registry.repository import Repository
from pier.registry.transport import Patience, Request, Transport


class RegistryClient:
    """Connections, tokens and what was learnt about hosts; one per daemon. Close it."""

    def __init__(
        self,
        hosts: Hosts | None = None,
        *,
        patience: Patience | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.transport = Transport(hosts or Hosts(), patience or Patience(), environ)

    def reload(self, hosts: Hosts) -> None:
        """Use other mirrors and insecure registries from the next request on."""
        self.transport.hosts = hosts

    async def close(self) -> None:
        await self.transport.close()

    def repository(
        self, registry: str, path: str, credentials: Credentials = ANONYMOUS
    ) -> Repository:
        """The repository `path` of `registry` (`docker.io`, `host:5000`); asks nothing yet."""
        return Repository(self.transport, registry, path, credentials)

    async def login(self, registry: str, credentials: Credentials) -> str:
        """Check credentials against `registry`; an identity token if it gives one, else "".

        Raises RegistryUnauthorized when they are wrong.
        """
        endpoint = self.transport.hosts.origin(registry)
        ping = Request("GET", "/", accepted=frozenset({401}))
        asking = replace(ping, unauthorized=True)
        async with self.transport.open(Identity(endpoint), asking) as response:
            headers = response.headers.getall("WWW-Authenticate", [])
            url = str(response.url)
        identity = Identity(endpoint, credentials)
        for challenge in protocol.parse_challenges(headers):
            if challenge.scheme == "bearer":
                try:
                    return await self.transport.authorizer.login(identity, challenge)
                except RegistryUnauthorized as error:
                    raise RegistryUnauthorized(endpoint.host, f'Get "{url}": {error}') from error
        async with self.transport.open(identity, ping) as response:
            if response.status == 401:
                words = f"login attempt to {url} failed with status: 401 Unauthorized"
                raise RegistryUnauthorized(endpoint.host, words)
        return ""
