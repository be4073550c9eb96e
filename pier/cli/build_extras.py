"""What `build` can do beyond Docker's classic builder: outputs, secrets, agents, named contexts.

The words are buildx's (its reference, "docker buildx build"); what has no meaning here is refused.
"""

from __future__ import annotations

import os

from pier.cli.faults import Fault
from pier.cli.parsing import split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SECRET_BYTES = 500 * 1024
STDOUT = "-"
_FILES_OF_A_TREE = ("local", "tar")
_ARCHIVES = ("oci", "docker")
_IMAGES = ("image", "docker")


class Output:
    """One result. `place` "" is the daemon's image store, "-" is stdout; `names` the image gets."""

    __slots__ = ("kind", "names", "place")

    def __init__(self, kind: str, place: str, names: Sequence[str] = ()) -> None:
        self.kind = kind
        self.place = place
        self.names = names


def _pairs(text: str, flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise Fault(f"invalid --{flag}: field {field!r} must be a key=value pair")
        found[key.lower()] = value
    return found


def parse_output(text: str) -> Output:
    """Read one `-o`: `type=..,dest=..`, a directory, or `-` for a tar archive on stdout."""
    if "=" not in text:
        return Output("tar", STDOUT) if text == STDOUT else Output("local", text)
    fields = _pairs(text, "output")
    kind, place = fields.pop("type", ""), fields.pop("dest", "")
    names = [name for name in fields.pop("name", "").split(",") if name]
    if kind not in (*_FILES_OF_A_TREE, *_ARCHIVES, *_IMAGES):
        raise Fault(f"output type {kind!r} is not supported: use local, tar, oci, docker or image")
    if names and kind in _FILES_OF_A_TREE:
        fields["name"] = names[0]
    if fields:
        raise Fault(f"output attribute {min(fields)!r} is not supported for type {kind}")
    if kind == "image":
        if place:
            raise Fault("an image goes to the image store: it has no dest")
        return Output(kind, "", names)
    if kind == "docker" and not place:
        return Output("image", "", names)
    if kind == "local" and place in ("", STDOUT):
        raise Fault("output type local needs a directory as dest")
    return Output(kind, place or STDOUT, names)


def parse_outputs(texts: Iterable[str], *, stdout_is_terminal: bool) -> list[Output]:
    outputs = [parse_output(text) for text in texts]
    to_stdout = [output for output in outputs if output.place == STDOUT]
    if to_stdout and stdout_is_terminal:
        raise Fault(
            f"dest file is required for {to_stdout[0].kind} exporter. refusing to write to console"
        )
    if len(to_stdout) > 1:
        raise Fault("only one output can go to stdout")
    return outputs


def read_secrets(texts: Iterable[str]) -> dict[str, bytes]:
    """Read every `--secret id=..[,src=..|,env=..]`; nothing said is a variable or a file `id`."""
    return dict(_read_secret(_pairs(text, "secret")) for text in texts)


def _read_secret(fields: dict[str, str]) -> tuple[str, bytes]:
    kind, identity = fields.pop("type", ""), fields.pop("id", "")
    path = fields.pop("src", "") or fields.pop("source", "")
    variable = fields.pop("env", "")
    if fields:
        raise Fault(f"unexpected key '{min(fields)}' in --secret")
    if not identity:
        raise Fault("secret: id is required")
    if kind not in ("", "file", "env"):
        raise Fault(f"unsupported secret type {kind!r}")
    if kind == "env" and path and not variable:
        path, variable = "", path
    if not (path or variable):
        path, variable = ("", identity) if identity in os.environ else (identity, "")
    return identity, _from_environment(variable) if variable else _from_file(identity, path)


def _from_environment(variable: str) -> bytes:
    if variable not in os.environ:
        raise Fault(f"secret: there is no environment variable {variable}")
    return os.environb[os.fsencode(variable)]


def _from_file(identity: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise Fault(f"failed to read secret {identity}: {path}: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise Fault(f"secret {identity} is too large: at most {MAX_SECRET_BYTES // 1024} KiB")
    return content


def encode_secrets(secrets: dict[str, bytes]) -> str:
    """The value of X-Pier-Build-Secrets."""
    from base64 import b64encode

    from pier.cli.jsonlite import format_json

    encoded = {name: b64encode(value).decode() for name, value in secrets.items()}
    text = b64encode(format_json(encoded).encode("utf-8", "surrogateescape")).decode()
    if len(text) > MAX_SECRET_BYTES * 2:
        raise Fault(f"the secrets are too large: at most {MAX_SECRET_BYTES // 1024} KiB together")
    return text


def find_agents(texts: Iterable[str], address: str) -> dict[str, str]:
    """The sockets for `--ssh`, by ID. The daemon mounts them, so it must be on this machine."""
    agents = dict(_find_agent(text) for text in texts)
    if agents and not address.startswith("unix://"):
        raise Fault(f"--ssh needs a daemon on this machine; {address} is elsewhere")
    return agents


def _find_agent(text: str) -> tuple[str, str]:
    import stat

    identity, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise Fault(f"invalid empty ssh agent socket for {identity}: is SSH_AUTH_SOCK set?")
    if not os.path.exists(path):
        raise Fault(f"ssh agent {identity}: {path}: no such file or directory")
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise Fault(f"ssh agent {identity}: {path} is not a socket; add keys to an agent (ssh-add)")
    return identity, os.path.realpath(path)


REMOTE = ("docker-image://", "http://", "https://", "git://", "git@", "ssh://", "target:")
_LAYOUT = "oci-layout://"


class NamedContexts:
    """`--build-context`: `values` by name as the daemon wants them; `directories` to be sent."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.values: dict[str, str] = {}
        self.directories: list[str] = []
        for text in texts:
            name, equals, value = text.partition("=")
            if not (equals and name and value):
                raise Fault(f"invalid context value: {text}, expected key=value")
            self.values[name] = self._value(name, value)

    def _value(self, name: str, value: str) -> str:
        if value.startswith(REMOTE):
            return value
        if value.startswith(_LAYOUT):
            path, selector = _split_layout(value.removeprefix(_LAYOUT))
            return f"oci-layout:{self._sent(name, path)}{selector}"
        if "://" in value:
            scheme = value.partition("://")[0]
            raise Fault(
                f"build context {name}: {scheme}:// is not supported: use docker-image://, "
                "oci-layout://, target:STAGE, a git or http URL, or a directory"
            )
        return f"input:{self._sent(name, value)}"

    def _sent(self, name: str, path: str) -> str:
        """Where the archive will have the directory."""
        if not os.path.isdir(path):
            raise Fault(f"failed to get build context {name}: {path} is not a directory")
        self.directories.append(os.path.realpath(path))
        return place_of(len(self.directories) - 1)


def _split_layout(text: str) -> tuple[str, str]:
    """The directory, and `:tag`, `@digest` or both."""
    path, at, digest = text.partition("@")
    head, colon, tag = path.rpartition(":")
    if colon and "/" not in tag:
        return head, f":{tag}{at}{digest}"
    return path, f"{at}{digest}"


def place_of(number: int) -> str:
    """Where the archive that is sent holds the directory of a named context."""
    return f"contexts/{number}"


def check_cache_to(texts: Iterable[str]) -> None:
    """Every image carries the keys of its steps, so `inline` is what happens anyway."""
    for text in texts:
        kind = _pairs(text, "cache-to").get("type", "") if "=" in text else "registry"
        if kind != "inline":
            raise Fault(
                f"--cache-to type {kind} is not supported: images carry their cache; push the "
                "image and name it in --cache-from"
            )


def parse_cache_from(texts: Iterable[str]) -> list[str]:
    """Images by name; `type=registry,ref=NAME` is buildx's way to say one."""
    images: list[str] = []
    for text in texts:
        if "=" not in text:
            images += [name for name in split_csv(text) if name]
            continue
        fields = _pairs(text, "cache-from")
        kind, reference = fields.pop("type", "registry"), fields.pop("ref", "")
        if kind != "registry":
            raise Fault(f"--cache-from type {kind} is not supported: name an image")
        if fields:
            raise Fault(f"unexpected key '{min(fields)}' in --cache-from")
        if not reference:
            raise Fault("--cache-from: ref is required")
        images.append(reference)
    return images


def check_attestations(attest: Sequence[str], provenance: str, sbom: str) -> None:
    """None are made; to ask for none is fine."""
    if attest or provenance.lower() != "false" or sbom.lower() != "false":
        raise Fault("attestations are not supported: leave out --attest, --provenance and --sbom")


def format_metadata(image_id: str, tags: Iterable[str]) -> str:
    """What --metadata-file gets: buildx's words for what there is here."""
    from pier.cli.jsonlite import format_json
    from pier.cli.references import Name

    told = {"containerimage.config.digest": image_id} if image_id else {}
    names = [Name(tag) for tag in tags]
    if names:
        told["image.name"] = ",".join(f"{name.full}{name.ending or ':latest'}" for name in names)
    return format_json(told) + "\n"
