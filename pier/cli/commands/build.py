"""`pier build`: a Dockerfile and its context become an image, by POST /build.

The flags of Docker's classic builder, and of buildx those that have a meaning here
(`build_extras`). How a build is told on a terminal is in `build_view`.
"""

from __future__ import annotations

import os
import sys

from pier.cli.build_context import Context, open_context
from pier.cli.build_extras import parse_cache_from
from pier.cli.build_watch import Manner, Watch
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json
from pier.cli.units import format_size
from pier.cli.values.policies import check_add_host, check_ulimit, parse_ulimit
from pier.cli.values.variables import check_env, check_label, parse_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session
    from pier.cli.transport import Response

    Query = dict[str, Any]

_PERIOD_US = 100_000


def build(session: Session, options: Options, arguments: list[str]) -> None:
    manner = Manner(options)
    extras = _Extras(session, options) if _EXTRA & options.given else None
    others = extras.contexts.directories if extras else []
    context = open_context(arguments[0], options.text("file"), sys.stdin.buffer, others)
    query = _query(session, options, context) | manner.query()
    headers = {"Content-Type": "application/x-tar"}
    if extras:
        query |= extras.query()
        headers |= extras.headers()
    response = _send(session, options, query, context, headers, announce=manner.announces)
    watch = Watch(manner, context.dockerfile or "Dockerfile", extras.outputs if extras else [])
    watch.show(response)
    if watch.found:
        raise Fault("")
    if not manner.checks:
        _note(options, watch.image_id, [*options.texts("tag"), *(extras.names if extras else ())])


def _note(options: Options, image_id: str, tags: Sequence[str]) -> None:
    """Write the files that are to tell of the result."""
    path = options.text("iidfile")
    if path:
        if not image_id:
            raise Fault(f"server did not provide an image ID. Cannot write {path}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(image_id)
    path = options.text("metadata-file")
    if path:
        from pier.cli.build_extras import format_metadata

        with open(path, "w", encoding="utf-8") as file:
            file.write(format_metadata(image_id, tags))


_EXTRA = frozenset(
    ("output", "secret", "ssh", "build-context", "cache-to", "push", "allow", "attest",
     "provenance", "sbom", "no-cache-filter")
)  # fmt: skip


class _Extras:
    """What the request has beyond the classic builder's."""

    def __init__(self, session: Session, options: Options) -> None:
        from pier.cli import build_extras as extras

        if options.on("push"):
            raise Fault("--push is not supported: run `pier push` after the build")
        extras.check_cache_to(options.texts("cache-to"))
        extras.check_attestations(
            options.texts("attest"), options.text("provenance"), options.text("sbom")
        )
        terminal = sys.stdout.isatty()
        self.outputs = extras.parse_outputs(options.texts("output"), stdout_is_terminal=terminal)
        self.names = [name for output in self.outputs for name in output.names]
        self._tags = options.texts("tag")
        self._no_cache = options.texts("no-cache-filter")
        self.contexts = extras.NamedContexts(options.texts("build-context"))
        self._agents: dict[str, str] = {}
        if options.texts("ssh"):
            self._agents = extras.find_agents(options.texts("ssh"), session.endpoint.address)
        self._secrets = extras.read_secrets(options.texts("secret"))
        self._encode = extras.encode_secrets
        self._allow = options.texts("allow")

    def query(self) -> Query:
        outputs = [{"Type": output.kind, "Attrs": {}} for output in self.outputs]
        documents: dict[str, object] = {
            "outputs": outputs,
            "contexts": self.contexts.values,
            "ssh": self._agents,
        }
        return {
            **{key: format_json(value) for key, value in documents.items() if value},
            "parcel": bool(self.contexts.directories),
            "allow": self._allow or None,
            "nocachefilter": self._no_cache or None,
            "t": [*self._tags, *self.names] or None,
        }

    def headers(self) -> dict[str, str]:
        return {"X-Pier-Build-Secrets": self._encode(self._secrets)} if self._secrets else {}


def _query(session: Session, options: Options, context: Context) -> Query:
    platform = options.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    numbers = {
        "memory": options.number("memory"),
        "memswap": options.number("memory-swap"),
        "cpushares": options.number("cpu-shares"),
        "cpuperiod": options.number("cpu-period"),
        "cpuquota": options.number("cpu-quota"),
        "shmsize": options.number("shm-size"),
    }
    if "cpus" in options.given:
        quota = options.number("cpus") * _PERIOD_US // 10**9
        numbers |= {"cpuperiod": _PERIOD_US, "cpuquota": quota}
    network = options.text("network")
    cache_from = parse_cache_from(options.texts("cache-from"))
    documents = {
        "buildargs": _build_args(session, options),
        "labels": parse_map(options.texts("label")),
        "cachefrom": cache_from,
        "ulimits": [parse_ulimit(text) for text in options.texts("ulimit")],
    }
    return {
        "t": options.texts("tag") or None,
        "dockerfile": context.dockerfile or None,
        "remote": context.remote or None,
        "nocache": options.on("no-cache"),
        "localcache": bool(cache_from),
        "rm": None if options.on("rm") else "0",
        "forcerm": options.on("force-rm"),
        "pull": options.on("pull"),
        "squash": options.on("squash"),
        **{key: value for key, value in numbers.items() if value},
        "cpusetcpus": options.text("cpuset-cpus") or None,
        "cpusetmems": options.text("cpuset-mems") or None,
        "cgroupparent": options.text("cgroup-parent") or None,
        "networkmode": None if network == "default" else network,
        "target": options.text("target") or None,
        "isolation": options.text("isolation") or None,
        "platform": platform.lower() or None,
        "securityopt": options.texts("security-opt") or None,
        "extrahosts": options.texts("add-host") or None,
        **{key: format_json(value) for key, value in documents.items() if value},
    }


def _build_args(session: Session, options: Options) -> dict[str, str | None]:
    """Return the build arguments; null is one whose value is the Dockerfile's own."""
    arguments: dict[str, str | None] = {}
    if "SOURCE_DATE_EPOCH" in os.environ:
        arguments["SOURCE_DATE_EPOCH"] = os.environ["SOURCE_DATE_EPOCH"]
    for text in options.texts("build-arg"):
        name, equals, value = text.partition("=")
        arguments[name] = value if equals else None
    proxies = session.settings.table("proxies")
    if proxies:
        from pier.cli.values.variables import proxy_variables

        found = proxy_variables(proxies, session.endpoint.address, arguments)
        arguments |= parse_map(found)
    return arguments


def _send(
    session: Session,
    options: Options,
    query: Query,
    context: Context,
    headers: dict[str, str],
    *,
    announce: bool,
) -> Response:
    from pier.cli.credentials import all_auths, encode_auth

    headers["X-Registry-Config"] = encode_auth(all_auths(session.settings))
    if context.chunks is None:
        return session.client.request("POST", "/build", query, b"", headers)
    chunks = context.chunks
    if options.on("compress"):
        chunks = _gzipped(chunks)
    if announce:
        chunks = _announced(chunks)
    return session.client.request("POST", "/build", query, chunks, headers)


def _gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj(wbits=31)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _announced(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Say how much is sent: as it goes on a terminal, at the end elsewhere."""
    size_bytes, watched = 0, sys.stdout.isatty()
    for chunk in chunks:
        size_bytes += len(chunk)
        if watched:
            _announce(size_bytes, "\r")
        yield chunk
    _announce(size_bytes, "\n")


def _announce(size_bytes: int, end: str) -> None:
    size = format_size(size_bytes, 4)
    sys.stdout.write(f"Sending build context to the daemon  {size}{end}")
    sys.stdout.flush()


BUILD_FLAGS = (
    Flag("add-host", "list", "Add a line host:ip to /etc/hosts", check=check_add_host),
    Flag("allow", "strings", "Allow what is refused (security.insecure, network.host)"),
    Flag("attest", "stringArray", "Not supported: there are no attestations", hidden=True),
    Flag("build-arg", "list", "Set a build argument", check=check_env),
    Flag("build-context", "stringArray", "Another context for FROM and --from, name=path"),
    Flag("builder", "string", "Accepted for Docker's sake; does nothing", hidden=True),
    Flag("cache-from", "stringArray", "Image to take cached layers from, pulled as needed"),
    Flag("cache-to", "stringArray", "Accepted as type=inline: images carry it", hidden=True),
    Flag("call", "string", "What to do (check, build)", "build"),
    Flag("cgroup-parent", "string", "Parent cgroup of RUN"),
    Flag("check", "bool", "Only check the Dockerfile, as --call=check"),
    Flag("compress", "bool", "Compress the context"),
    Flag("cpu-period", "int", "Period of the CFS quota in microseconds"),
    Flag("cpu-quota", "int", "CFS quota in microseconds"),
    Flag("cpu-shares,c", "int", "Relative weight for the CPU"),
    Flag("cpus", "decimal", "Number of CPUs that RUN may use"),
    Flag("cpuset-cpus", "string", "CPUs that RUN may use (0-3, 0,1)"),
    Flag("cpuset-mems", "string", "Memory nodes that RUN may use (0-3, 0,1)"),
    Flag("disable-content-trust", "bool", "Accepted; does nothing", True, hidden=True),
    Flag("explain", "bool", "Say which changed input made a step run again"),
    Flag("file,f", "string", 'Name of the Dockerfile (by default "PATH/Dockerfile")'),
    Flag("force-rm", "bool", "Always remove intermediate containers"),
    Flag("iidfile", "string", "Write the image's ID to this file"),
    Flag("isolation", "string", "Isolation technology", hidden=True),
    Flag("label", "list", "Set a label of the image", check=check_label),
    Flag("load", "bool", "Accepted for Docker's sake; always so", hidden=True),
    Flag("memory,m", "bytes", "Limit of memory of RUN"),
    Flag("memory-swap", "swap", "Limit of memory and swap of RUN, -1 for no limit of swap"),
    Flag("metadata-file", "string", "Write what was built to this file, as JSON"),
    Flag("network", "string", "Network of RUN", "default"),
    Flag("no-cache", "bool", "Do not use the cache"),
    Flag("no-cache-filter", "strings", "Stages that do not use the cache"),
    Flag("output,o", "stringArray", "Where to put the result (type=local|tar|oci,dest=PATH)"),
    Flag("platform", "string", "Platform of the image"),
    Flag("progress", "string", "How to tell it (auto, plain, tty, quiet, rawjson)", "auto"),
    Flag("provenance", "string", "Not supported but as false", "false", hidden=True),
    Flag("pull", "bool", "Look for newer base images"),
    Flag("push", "bool", "Not supported: push after the build", hidden=True),
    Flag("quiet,q", "bool", "Print nothing but the image's ID"),
    Flag("rm", "bool", "Remove intermediate containers after success", True),
    Flag("sbom", "string", "Not supported but as false", "false", hidden=True),
    Flag("secret", "stringArray", "A secret for RUN (id=ID,src=PATH|env=NAME)"),
    Flag("security-opt", "strings", "Set a security option"),
    Flag("shm-size", "bytes", "Size of /dev/shm of RUN"),
    Flag("squash", "bool", "Make one layer of the new layers"),
    Flag("ssh", "stringArray", "An SSH agent for RUN (default|ID=SOCKET)"),
    Flag("tag,t", "list", 'Name, and tag, as "name:tag"'),
    Flag("target", "string", "Stage to stop at"),
    Flag("ulimit", "ulimit", "Set a resource limit of RUN", check=check_ulimit),
)
_BUILD = Command(
    build,
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    (1, 1),
    BUILD_FLAGS,
    aliases="pier image build, pier build, pier builder build",
)
COMMANDS = {"image build": _BUILD, "builder build": _BUILD}
