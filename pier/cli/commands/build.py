"""`pier build`: a Dockerfile and its context become an image, by POST /build.

The flags of Docker's classic builder. Those that only BuildKit has are named in LATER and wait
for the daemon's side; `_extensions` is where they join the request.
"""

from __future__ import annotations

import os
import sys

from pier.cli.build_context import Context, open_context
from pier.cli.client import json_stream
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json
from pier.cli.session import out
from pier.cli.units import format_size
from pier.cli.values.policies import check_add_host, check_ulimit, parse_ulimit
from pier.cli.values.variables import check_env, check_label, parse_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session
    from pier.cli.transport import Response

    Query = dict[str, Any]

LATER = ("output", "secret", "ssh", "build-context", "cache-to", "explain", "push")


def build(session: Session, options: Options, arguments: list[str]) -> None:
    context = open_context(arguments[0], options.text("file"), sys.stdin.buffer)
    query = _query(session, options, context) | _extensions(options)
    response = _send(session, options, query, context)
    image_id = _Watch(quiet=options.on("quiet")).show(response)
    path = options.text("iidfile")
    if path:
        if not image_id:
            raise Fault(f"server did not provide an image ID. Cannot write {path}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(image_id)


def _extensions(options: Options) -> Query:
    """Return what the request needs beyond the classic builder; refuse what it cannot do yet."""
    asked = [flag for flag in LATER if flag in options.given]
    if asked:
        raise Fault(f"--{asked[0]} is not supported by Pier's builder yet")
    return {}


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
    network = options.text("network")
    documents = {
        "buildargs": _build_args(session, options),
        "labels": parse_map(options.texts("label")),
        "cachefrom": options.texts("cache-from"),
        "ulimits": [parse_ulimit(text) for text in options.texts("ulimit")],
    }
    return {
        "t": options.texts("tag") or None,
        "dockerfile": context.dockerfile or None,
        "remote": context.remote or None,
        "q": options.on("quiet"),
        "nocache": options.on("no-cache"),
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
    for text in options.texts("build-arg"):
        name, equals, value = text.partition("=")
        arguments[name] = value if equals else None
    proxies = session.settings.table("proxies")
    if proxies:
        from pier.cli.values.variables import proxy_variables

        found = proxy_variables(proxies, session.endpoint.address, arguments)
        arguments |= parse_map(found)
    return arguments


def _send(session: Session, options: Options, query: Query, context: Context) -> Response:
    from pier.cli.credentials import all_auths, encode_auth

    headers = {"Content-Type": "application/x-tar"}
    headers["X-Registry-Config"] = encode_auth(all_auths(session.settings))
    if context.chunks is None:
        return session.client.request("POST", "/build", query, b"", headers)
    chunks = context.chunks
    if options.on("compress"):
        chunks = _gzipped(chunks)
    if not options.on("quiet"):
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


class _Watch:
    """Shows what the daemon says, and remembers the ID of the image."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._image_id = ""

    def show(self, response: Response) -> str:
        from io import StringIO

        from pier.cli.progress import show_progress

        stream = StringIO() if self._quiet else sys.stdout
        try:
            show_progress(json_stream(response), stream, on_aux=self._take)
        except Fault:
            if isinstance(stream, StringIO):
                sys.stderr.write(stream.getvalue())
            raise
        if isinstance(stream, StringIO):
            out(stream.getvalue().strip() or self._image_id)
        return self._image_id

    def _take(self, message: dict[str, Any]) -> None:
        identity = message["aux"].get("ID") if isinstance(message["aux"], dict) else None
        if identity:
            self._image_id = identity


BUILD_FLAGS = (
    Flag("add-host", "list", "Add a line host:ip to /etc/hosts", check=check_add_host),
    Flag("build-arg", "list", "Set a build argument", check=check_env),
    Flag("build-context", "stringArray", "Another context, name=path", hidden=True),
    Flag("builder", "string", "Accepted for Docker's sake; does nothing", hidden=True),
    Flag("cache-from", "strings", "Image to take cached layers from"),
    Flag("cache-to", "stringArray", "Where to put the cache", hidden=True),
    Flag("cgroup-parent", "string", "Parent cgroup of RUN"),
    Flag("compress", "bool", "Compress the context"),
    Flag("cpu-period", "int", "Period of the CFS quota in microseconds"),
    Flag("cpu-quota", "int", "CFS quota in microseconds"),
    Flag("cpu-shares,c", "int", "Relative weight for the CPU"),
    Flag("cpuset-cpus", "string", "CPUs that RUN may use (0-3, 0,1)"),
    Flag("cpuset-mems", "string", "Memory nodes that RUN may use (0-3, 0,1)"),
    Flag("disable-content-trust", "bool", "Accepted; does nothing", True, hidden=True),
    Flag("explain", "bool", "Say why steps were not cached", hidden=True),
    Flag("file,f", "string", 'Name of the Dockerfile (by default "PATH/Dockerfile")'),
    Flag("force-rm", "bool", "Always remove intermediate containers"),
    Flag("iidfile", "string", "Write the image's ID to this file"),
    Flag("isolation", "string", "Isolation technology", hidden=True),
    Flag("label", "list", "Set a label of the image", check=check_label),
    Flag("load", "bool", "Accepted for Docker's sake; always so", hidden=True),
    Flag("memory,m", "bytes", "Limit of memory of RUN"),
    Flag("memory-swap", "swap", "Limit of memory and swap of RUN, -1 for no limit of swap"),
    Flag("network", "string", "Network of RUN", "default"),
    Flag("no-cache", "bool", "Do not use the cache"),
    Flag("output,o", "stringArray", "Where to put the result", hidden=True),
    Flag("platform", "string", "Platform of the image"),
    Flag("progress", "string", "Accepted for Docker's sake; does nothing", "auto", hidden=True),
    Flag("pull", "bool", "Look for newer base images"),
    Flag("push", "bool", "Push the result", hidden=True),
    Flag("quiet,q", "bool", "Print nothing but the image's ID"),
    Flag("rm", "bool", "Remove intermediate containers after success", True),
    Flag("secret", "stringArray", "A secret for RUN", hidden=True),
    Flag("security-opt", "strings", "Set a security option"),
    Flag("shm-size", "bytes", "Size of /dev/shm of RUN"),
    Flag("squash", "bool", "Make one layer of the new layers"),
    Flag("ssh", "stringArray", "An SSH agent for RUN", hidden=True),
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
