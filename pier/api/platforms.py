"""The query parameter `platform`: an OCI platform as JSON, or `os/arch/variant` from older clients.

Where an image means one platform, asking for another is a 404, in words clients know.
"""

import msgspec

from pier.api.call import Call
from pier.errors import InvalidArgument
from pier.images.model import Image


class InvalidPlatformParameter(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"failed to parse platform: {why}")


class ManyPlatforms(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("multiple platform parameters not supported")


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


def platforms_of(call: Call, since: int, key: str = "platform") -> tuple[str, ...]:
    """What was asked for, each as `os/arch[/variant]`; nothing from before API 1.`since`."""
    if not call.version.at_least(since):
        return ()
    return tuple(_read(text) for text in call.texts(key) if text)


def platform_of(call: Call, since: int) -> str:
    """The one that was asked for; "" for none. Raises ManyPlatforms."""
    platforms = platforms_of(call, since)
    if len(platforms) > 1:
        raise ManyPlatforms
    return "".join(platforms)


def _read(text: str) -> str:
    if not text.startswith("{"):
        return text
    try:
        platform = msgspec.json.decode(text, type=_Platform)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidPlatformParameter(str(error)) from error
    if not (platform.os and platform.architecture):
        raise InvalidPlatformParameter("both OS and Architecture must be provided")
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def image_of(call: Call, name: str, since: int, key: str = "platform") -> Image:
    """The image `name`, if it is of one of the platforms asked for. Raises WrongPlatform."""
    image: Image = call.engine.images.get(name)
    if platforms := platforms_of(call, since, key):
        call.engine.images.check_platform(name, image, platforms)
    return image
