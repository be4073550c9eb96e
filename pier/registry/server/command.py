"""`pier registry serve` and `pier registry gc`: arguments, sockets, periodic collection.

pier registry serve --addr 127.0.0.1:5000 --root DIR
"""

import argparse
import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from pier.errors import InvalidArgument, PierError
from pier.registry.client import RegistryClient
from pier.registry.credentials import Credentials, registry_host
from pier.registry.hosts import Hosts
from pier.registry.server import s3
from pier.registry.server.access import Access
from pier.registry.server.app import create_app
from pier.registry.server.backend import Backend, Directory
from pier.registry.server.cache import PullThrough
from pier.registry.server.collect import DEFAULT_GRACE_S, collect
from pier.registry.server.contents import Contents
from pier.registry.server.evict import Bounds, parse_size
from pier.registry.server.htpasswd import Htpasswd
from pier.registry.server.parts import Parts
from pier.registry.server.spool import Spool

logger = logging.getLogger(__name__)
_CLOSE_S = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; the exit code."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(options.run(options))
    except (PierError, OSError, ssl.SSLError) as error:
        logger.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pier registry", description="An OCI registry.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve a registry")
    serve.set_defaults(run=_serve)
    collecting = commands.add_parser(
        "gc", help="remove what nothing refers to, of a registry that is not running"
    )
    collecting.set_defaults(run=_collect_once)
    for command in (serve, collecting):
        _add_storage(command)
    _add_serving(serve)
    return parser


def _add_storage(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--root", type=Path, required=True, help="content and uploads under way")
    add("--s3", metavar="s3://BUCKET/PREFIX", help="content in object storage instead")
    add("--s3-endpoint", default="", metavar="URL", help="of an S3-compatible store")
    add("--s3-region", default="")
    add(
        "--gc-grace",
        type=float,
        default=DEFAULT_GRACE_S,
        metavar="SECONDS",
        help="spare what is younger (default: a day)",
    )


def _add_serving(serve: argparse.ArgumentParser) -> None:
    add = serve.add_argument
    add("--addr", default="127.0.0.1:5000", metavar="HOST:PORT", help="port 0: any free one")
    add("--tls-cert", type=Path)
    add("--tls-key", type=Path)
    add("--htpasswd", type=Path, help="bcrypt entries: who may push and pull")
    add("--anonymous-pull", action="store_true", help="with --htpasswd: only pushing needs it")
    add("--readonly", action="store_true")
    add("--gc-every", type=float, default=0.0, metavar="SECONDS", help="0: only on SIGUSR1")
    add("--proxy", metavar="REGISTRY", help="be a pull-through cache of it, e.g. docker.io")
    add("--proxy-insecure", action="store_true", help="the upstream may speak plain HTTP")
    add("--proxy-user", default="", help="its password: environment PIER_PROXY_PASSWORD")
    add("--proxy-ttl", type=float, default=0.0, metavar="SECONDS", help="trust a tag so long")
    add("--proxy-size", default="0", metavar="BYTES", help="keep no more than this, e.g. 20g")
    add(
        "--proxy-age",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="keep nothing nobody asked for so long",
    )


async def _serve(options: argparse.Namespace) -> None:
    async with _opened(options) as parts:
        runner = web.AppRunner(create_app(parts), access_log=None, shutdown_timeout=_CLOSE_S)
        await runner.setup()
        try:
            site = await _listen(runner, options)
            logger.info("registry listening on %s", site.name)
            await _until_stopped(parts, options)
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _opened(options: argparse.Namespace) -> AsyncIterator[Parts]:
    """The parts the options ask for; closed at the end."""
    backend = _backend(options)
    contents = Contents(backend)
    parts = Parts(
        contents=contents,
        spool=Spool(options.root / "uploads"),
        access=_access(options),
        readonly=options.readonly,
    )
    if options.proxy:
        parts.cache = _cache(options, parts)
    elif options.proxy_age or parse_size(options.proxy_size):
        raise InvalidArgument("--proxy-size and --proxy-age are bounds of a cache: see --proxy")
    try:
        yield parts
    finally:
        if parts.cache is not None:
            await parts.cache.close()
        await backend.close()


def _access(options: argparse.Namespace) -> Access | None:
    if options.htpasswd:
        return Access(Htpasswd(options.htpasswd), anonymous_pull=options.anonymous_pull)
    if options.anonymous_pull:
        raise InvalidArgument("--anonymous-pull is for a registry with --htpasswd")
    return None


def _backend(options: argparse.Namespace) -> Backend:
    if options.s3:
        where = {"endpoint": options.s3_endpoint, "region": options.s3_region}
        return s3.ObjectStorage(s3.open_store(options.s3, where))
    return Directory(options.root)


def _cache(options: argparse.Namespace, parts: Parts) -> PullThrough:
    upstream = registry_host(options.proxy)
    client = RegistryClient(Hosts(insecure=[upstream] if options.proxy_insecure else []))
    password = os.environ.get("PIER_PROXY_PASSWORD", "")
    return PullThrough(
        client,
        upstream,
        parts.contents,
        parts.spool,
        metrics=parts.metrics,
        credentials=Credentials(options.proxy_user, password),
        ttl_s=options.proxy_ttl,
        bounds=Bounds(parse_size(options.proxy_size), options.proxy_age),
    )


async def _listen(runner: web.AppRunner, options: argparse.Namespace) -> web.TCPSite:
    host, _, port = options.addr.rpartition(":")
    if not port.isdigit():
        raise InvalidArgument(f"--addr {options.addr}: HOST:PORT is expected")
    context = None
    if options.tls_cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.tls_cert, options.tls_key)
    site = web.TCPSite(runner, host.strip("[]") or None, int(port), ssl_context=context)
    await site.start()
    if int(port) == 0:
        host, bound = runner.addresses[0][:2]
        logger.info("port %s", bound)
    return site


async def _until_stopped(parts: Parts, options: argparse.Namespace) -> None:
    """Collect when it is time, or on SIGUSR1, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop, now = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, now.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_collect_forever(parts, options, now))]
        if parts.cache is not None:
            tasks.append(group.create_task(parts.cache.eviction.run_forever()))
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _collect_forever(parts: Parts, options: argparse.Namespace, now: asyncio.Event) -> None:
    while True:
        try:
            async with asyncio.timeout(options.gc_every or None):
                await now.wait()
        except TimeoutError:
            pass
        now.clear()
        try:
            await _collect(parts, options)
        except Exception:
            logger.exception("collection failed; nothing more is removed")


async def _collect(parts: Parts, options: argparse.Namespace) -> None:
    parts.spool.expire(options.gc_grace)
    done = await collect(parts.contents, options.gc_grace)
    parts.metrics.collected(done.size_bytes)
    logger.info("collected %d blobs, %d bytes", done.blobs, done.size_bytes)


async def _collect_once(options: argparse.Namespace) -> None:
    contents = Contents(_backend(options))
    done = await collect(contents, options.gc_grace)
    Spool(options.root / "uploads").expire(options.gc_grace)
    logger.info("collected %d blobs, %d bytes", done.blobs, done.size_bytes)
