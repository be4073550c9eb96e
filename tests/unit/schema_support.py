"""Docker's JSON as a client sends and reads it, for the tests of the schema."""

import json
from typing import Any

import msgspec

from pier.api.schema.config import CreateBody, to_spec
from pier.api.schema.decode import decode_body
from pier.api.versions import MAX_VERSION, ApiVersion
from pier.containers.model import Container
from pier.containers.spec import ContainerSpec


def asked(body: dict[str, Any], version: ApiVersion = MAX_VERSION) -> ContainerSpec:
    body = {"Image": "busybox"} | body
    return to_spec(decode_body(json.dumps(body).encode(), CreateBody), version)


def shown(value: object) -> Any:  # JSON: its shape is what the tests are about
    return msgspec.json.decode(msgspec.json.encode(value))


def container(spec: ContainerSpec | None = None, **changes: Any) -> Container:
    return Container(
        id="a" * 64, name="web", image_id="sha256:1", spec=spec or ContainerSpec(), **changes
    )
