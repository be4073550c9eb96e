"""All routes in the order they are tried; the more special ones stand first."""

from pier.api.routes import (
    archive,
    attach,
    build,
    containers,
    execs,
    images,
    lifecycle,
    networks,
    swarm,
    system,
    transfer,
    volumes,
    watch,
)

ROUTES = (
    *system.ROUTES,
    *archive.ROUTES,
    *attach.ROUTES,
    *watch.ROUTES,
    *lifecycle.ROUTES,
    *execs.ROUTES,
    *containers.ROUTES,
    *transfer.ROUTES,
    *images.ROUTES,
    *build.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
    *swarm.ROUTES,
)
