"""An engine behind a socket, Pier or dockerd, as far as clearing and naming need it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemon import request

IMAGE = "busybox:latest"
_BUILT_IN = ("bridge", "host", "none")


@dataclass(frozen=True, slots=True)
class Engine:
    host: str

    @property
    def socket(self) -> Path:
        return Path(self.host.removeprefix("unix://"))

    def get(self, path: str) -> Any:  # Any: foreign JSON
        status, body = request(self.socket, "GET", path)
        assert status == 200, f"{path}: {status} {body}"
        return body

    def delete(self, path: str) -> None:
        status, body = request(self.socket, "DELETE", path)
        assert status in (200, 204, 404), f"{path}: {status} {body}"

    def objects(self) -> Iterator[tuple[str, str, str]]:
        """Kind, ID and name of everything that has an ID; an image without a name has ""."""
        for item in self.get("/containers/json?all=1"):
            yield "container", item["Id"], item["Names"][0].removeprefix("/")
        for item in self.get("/networks"):
            yield "network", item["Id"], item["Name"]
        for item in self.get("/images/json?all=1"):
            yield "image", item["Id"].removeprefix("sha256:"), next(iter(item["RepoTags"]), "")

    def clear(self) -> None:
        """Remove everything but the image of the scenarios."""
        for item in self.get("/containers/json?all=1"):
            self.delete(f"/containers/{item['Id']}?force=1&v=1")
        for item in self.get("/networks"):
            if item["Name"] not in _BUILT_IN:
                self.delete(f"/networks/{item['Id']}")
        for item in self.get("/volumes")["Volumes"] or []:
            self.delete(f"/volumes/{item['Name']}?force=1")
        request(self.socket, "POST", "/build/prune?all=1")
        self._clear_images()

    def _clear_images(self) -> None:
        names = [name for i in self.get("/images/json") for name in i["RepoTags"] or []]
        for name in names:
            if name != IMAGE:
                self.delete(f"/images/{name}?force=1")
        for item in self.get("/images/json"):
            if IMAGE not in (item["RepoTags"] or []):
                self.delete(f"/images/{item['Id']}?force=1")
