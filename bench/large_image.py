"""A large image as a `docker save` archive: one gzip layer with many files of mixed size."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

FILES = 20_000


def make_archive(path: Path, megabytes: int) -> Path:
    """Write the archive of an image `bench-large:latest`; the same bytes every time."""
    layer = _layer(megabytes)
    compressed = gzip.compress(layer, compresslevel=6, mtime=0)
    diff_id = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created_by": "bench"}],
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [
        {"Config": config_name, "RepoTags": ["bench-large:latest"], "Layers": ["layer.tar.gz"]}
    ]
    with tarfile.open(path, "w") as archive:
        for name, data in (
            (config_name, config),
            ("layer.tar.gz", compressed),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _layer(megabytes: int) -> bytes:
    """Half of it compresses well, half not, as in real images."""
    chance = random.Random(1)
    size = megabytes * 1_000_000 // FILES
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(FILES):
            if number % 100 == 0:
                folder = tarfile.TarInfo(f"data/{number // 100}")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
            length = chance.randrange(size // 2, size + size // 2)
            info = tarfile.TarInfo(f"data/{number // 100}/{number}")
            info.size = length
            half = chance.randbytes(length // 2)
            tar.addfile(info, io.BytesIO((half + b"pier" * length)[:length]))
    return stream.getvalue()
