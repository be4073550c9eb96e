"""Image archives as foreign tools could write them, made of what `save` gives."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]  # foreign


def members(archive: bytes) -> dict[str, bytes]:
    """The regular files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            entry.name: file.read()
            for entry in tar.getmembers()
            if (file := tar.extractfile(entry))
        }


def tar_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def reconfigured(saved: bytes, name: str, changes: Json, config: Json | None = None) -> bytes:
    """The one image of `saved` in Docker's layout, `changes` in its config object.

    config: more fields beside that object.
    """
    files = members(saved)
    manifest = json.loads(files["manifest.json"])[0]
    document = json.loads(files[manifest["Config"]])
    document["config"] = {**document.get("config", {}), **changes}
    document.update(config or {})
    data = json.dumps(document).encode()
    entry = {"Config": f"{hashlib.sha256(data).hexdigest()}.json", "RepoTags": [name]}
    layers = {layer: files[layer] for layer in manifest["Layers"]}
    described = json.dumps([{**entry, "Layers": list(layers)}]).encode()
    return tar_of({str(entry["Config"]): data, **layers, "manifest.json": described})
