"""Pulling one image, with its progress."""

from __future__ import annotations

from pier.cli.client import json_stream
from pier.cli.credentials import auth_header
from pier.cli.progress import show_progress
from pier.cli.references import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from pier.cli.session import Session


def pull_image(
    session: Session,
    image: str,
    *,
    platform: str,
    stream: TextIO,
    quiet: bool = False,
    all_tags: bool = False,
) -> None:
    """Pull `image`, showing on `stream` how far it is; quiet shows nothing."""
    name = Name(image)
    tag = name.digest or name.tag or ("" if all_tags else "latest")
    query = {"fromImage": name.full, "tag": tag or None, "platform": platform or None}
    headers = auth_header(session.settings, image)
    response = session.client.request("POST", "/images/create", query, b"", headers)
    messages = json_stream(response)
    if quiet:
        from pier.cli.progress import raise_errors

        raise_errors(messages)
    else:
        show_progress(messages, stream)
