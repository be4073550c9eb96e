"""A container's life: create, start, stop, kill, pause, rename, update, remove, wait."""

import re
from typing import ClassVar

from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.schema.config import CreateBody, deprecations, to_spec
from pier.api.schema.host import RestartPolicyJson, to_restart
from pier.api.schema.prune import prune_labels, prune_until
from pier.api.schema.resources import ResourcesJson, asked_changes, to_resources
from pier.errors import InvalidArgument

_LONGEST_START_BODY = 7
_DECIMAL = re.compile(r"[+-]?[0-9]+")
_LARGEST_SIZE = 2**32 - 1


class UpdateBody(ResourcesJson, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "container.UpdateConfig"
    restart_policy: RestartPolicyJson | None = None


class StartBodyGiven(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )


class EmptyConfig(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("config cannot be empty in order to create a container")


class InvalidSize(InvalidArgument):
    def __init__(self, what: str, given: str, why: str) -> None:
        super().__init__(f'invalid resize {what} "{given}": {why}')


async def create(call: Call) -> web.StreamResponse:
    body = await call.needed_body(CreateBody)
    if body == CreateBody():
        raise EmptyConfig
    container = await call.engine.containers.create(
        call.text("name").removeprefix("/") or None,
        to_spec(body, call.version),
        platform=call.text("platform") if call.version.at_least(41) else "",
    )
    warnings = [*deprecations(body, call.version), *container.warnings]
    return answers.json({"Id": container.id, "Warnings": warnings}, 201)


async def start(call: Call) -> web.StreamResponse:
    body = await call.request.read()
    if len(body) > _LONGEST_START_BODY:
        raise StartBodyGiven
    await call.engine.containers.start(call.name, detach_keys=call.text("detachKeys"))
    return answers.empty()


def _signal(call: Call) -> str:
    return call.text("signal") if call.version.at_least(42) else ""


async def stop(call: Call) -> web.StreamResponse:
    timeout_s = call.optional_number("t")
    await call.engine.containers.stop(call.name, timeout_s=timeout_s, signal=_signal(call))
    return answers.empty()


async def restart(call: Call) -> web.StreamResponse:
    timeout_s = call.optional_number("t")
    await call.engine.containers.restart(call.name, timeout_s=timeout_s, signal=_signal(call))
    return answers.empty()


async def kill(call: Call) -> web.StreamResponse:
    await call.engine.containers.kill(call.name, call.text("signal"))
    return answers.empty()


async def pause(call: Call) -> web.StreamResponse:
    await call.engine.containers.pause(call.name)
    return answers.empty()


async def unpause(call: Call) -> web.StreamResponse:
    await call.engine.containers.unpause(call.name)
    return answers.empty()


async def rename(call: Call) -> web.StreamResponse:
    await call.engine.containers.rename(call.name, call.text("name").removeprefix("/"))
    return answers.empty()


async def update(call: Call) -> web.StreamResponse:
    body = await call.body(UpdateBody)
    policy = body.restart_policy
    restart_policy = to_restart(policy) if policy is not None and policy.name else None
    changes = asked_changes(to_resources(body), call.version)
    warnings = await call.engine.containers.update(call.name, changes, restart_policy)
    return answers.json({"Warnings": list(warnings)})


async def remove(call: Call) -> web.StreamResponse:
    await call.engine.containers.remove(
        call.name, volumes=call.flag("v"), force=call.flag("force"), link=call.flag("link")
    )
    return answers.empty()


async def resize(call: Call) -> web.StreamResponse:
    height, width = terminal_size(call)
    await call.engine.containers.resize(call.name, height, width)
    return answers.empty(200)


def terminal_size(call: Call) -> tuple[int, int]:
    """Rows and columns. Raises InvalidSize."""
    return _dimension("height", call.text("h")), _dimension("width", call.text("w"))


def _dimension(what: str, text: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise InvalidSize(what, text, "invalid syntax")
    if len(text) > len(str(_LARGEST_SIZE)) or not 0 <= int(text) <= _LARGEST_SIZE:
        raise InvalidSize(what, text, "value out of range")
    return int(text)


async def wait(call: Call) -> web.StreamResponse:
    """The headers go out at once: `docker run` starts the container only when it has them."""
    condition = call.text("condition") if call.version.at_least(30) else ""
    waiter = call.engine.containers.wait(call.name, condition or "not-running")
    try:
        async with answers.while_connected(call.request):
            response = await answers.open_stream(call.request, answers.JSON)
            result = await waiter.result()
    finally:
        waiter.close()
    answer: dict[str, object] = {"StatusCode": result.status_code}
    if result.error:
        answer["Error"] = {"Message": result.error}
    await response.write(answers.encode(answer) + b"\n")
    await response.write_eof()
    return response


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters(("until", "label", "label!"))
    pruned = await call.engine.containers.prune(
        until_ns=prune_until(filters, call.now_ns), **prune_labels(filters)
    )
    answer = {"ContainersDeleted": list(pruned.ids), "SpaceReclaimed": pruned.bytes_reclaimed}
    return answers.json(answer)


ROUTES = (
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("POST", "/containers/{name}/start", start),
    Route("POST", "/containers/{name}/stop", stop),
    Route("POST", "/containers/{name}/restart", restart),
    Route("POST", "/containers/{name}/kill", kill),
    Route("POST", "/containers/{name}/pause", pause),
    Route("POST", "/containers/{name}/unpause", unpause),
    Route("POST", "/containers/{name}/rename", rename),
    Route("POST", "/containers/{name}/update", update),
    Route("POST", "/containers/{name}/resize", resize),
    Route("POST", "/containers/{name}/wait", wait),
    Route("DELETE", "/containers/{name}", remove),
)
