"""The end points of the OCI distribution specification, one by one, over both kinds of storage;
and collection while others push.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.image_store import described, put_manifest
from tests.clients.registries import (
    Answer,
    SmallImage,
    digest,
    free_port,
    http,
    pier_registry,
    put_blob,
    put_image,
    running,
    small_image,
)

OCTETS = {"Content_Type": "application/octet-stream"}
OCI = "application/vnd.oci.image.manifest.v1+json"
UNKNOWN = digest(b"unknown")


@pytest.fixture(scope="module", params=["directory", "s3"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("registry")
    with contextlib.ExitStack() as stack:
        flags: tuple[str, ...] = ()
        if request.param == "s3":
            flags = stack.enter_context(_bucket(root))
        env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        yield stack.enter_context(pier_registry(root / "root", *flags, env=env))


@contextlib.contextmanager
def _bucket(root: Path) -> Iterator[tuple[str, ...]]:
    moto = Path(sys.executable).with_name("moto_server")
    if not moto.exists():
        pytest.skip("moto_server is not installed")
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    with running([str(moto), "-H", "127.0.0.1", "-p", port], address, root / "moto.log"):
        assert http("PUT", f"http://{address}/registry").status == 200
        yield ("--s3", "s3://registry/p", "--s3-endpoint", f"http://{address}")


class Asked:
    """Requests to one repository."""

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.base = f"http://{host}/v2/{name}"

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        url = path if path.startswith("http") else self.base + path
        if path.startswith("/v2/"):
            url = f"http://{self.host}{path}"
        return http(method, url, body, **headers)


def test_end_1_to_3_reading(host: str) -> None:
    ask, image = Asked(host, "read/a"), small_image()
    assert ask("GET", "/v2/").status == 200
    put_image(host, "read/a", "1", image)
    for method in ("GET", "HEAD"):
        blob = ask(method, f"/blobs/{digest(image.layer)}")
        assert (blob.status, blob.headers["Docker-Content-Digest"]) == (200, digest(image.layer))
        assert blob.headers["Content-Length"] == str(len(image.layer))
        assert blob.body == (image.layer if method == "GET" else b"")
        for reference in ("1", digest(image.manifest)):
            found = ask(method, f"/manifests/{reference}")
            assert (found.status, found.headers["Content-Type"]) == (200, image.media_type)
            assert found.headers["Docker-Content-Digest"] == digest(image.manifest)
            assert found.headers["Content-Length"] == str(len(image.manifest))
        assert ask(method, f"/blobs/{UNKNOWN}").status == 404
        assert ask(method, f"/manifests/{UNKNOWN}").status == 404
        assert ask(method, "/manifests/none").status == 404
    part = ask("GET", f"/blobs/{digest(image.layer)}", Range="bytes=1-2")
    assert (part.status, part.body) == (206, image.layer[1:3])
    assert part.headers["Content-Range"] == f"bytes 1-2/{len(image.layer)}"
    assert ask("GET", f"/blobs/{digest(image.layer)}", Range="bytes=99-").status == 416
    assert ask("GET", "/blobs/sha256:short").code == "DIGEST_INVALID"
    assert ask("GET", "/blobs/md5:d41d8cd98f00b204e9800998ecf8427e").code == "DIGEST_INVALID"
    assert http("GET", f"http://{host}/v2/UPPER/manifests/1").code == "NAME_INVALID"


def test_end_4_to_6_uploading(host: str) -> None:
    ask = Asked(host, "up/a")
    whole = b"whole" * 1000
    posted = ask("POST", f"/blobs/uploads/?digest={digest(whole)}", whole, **OCTETS)
    assert (posted.status, posted.headers["Location"]) == (201, f"/v2/up/a/blobs/{digest(whole)}")
    assert ask("POST", f"/blobs/uploads/?digest={UNKNOWN}", whole).code == "DIGEST_INVALID"
    begun = ask("POST", "/blobs/uploads/", b"")
    assert (begun.status, begun.headers["Range"]) == (202, "0-0")
    first, second, last = b"1" * 5000, b"2" * 6000, b"3" * 100
    where = begun.headers["Location"]
    assert ask("PATCH", where, first, Content_Range="10-5009", **OCTETS).status == 416
    patched = ask("PATCH", where, first, Content_Range="0-4999", **OCTETS)
    assert (patched.status, patched.headers["Range"]) == (202, "0-4999")
    where = patched.headers["Location"]
    assert ask("PATCH", where, first, Content_Range="0-4999", **OCTETS).status == 416
    where = ask("PATCH", where, second, **OCTETS).headers["Location"]  # a stream has no range
    asked = ask("GET", where)
    assert (asked.status, asked.headers["Range"]) == (204, "0-10999")
    content = first + second + last
    done = ask("PUT", f"{where}?digest={digest(content)}", last, Content_Range="11000-11099")
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest(content))
    assert ask("GET", f"/blobs/{digest(content)}").body == content
    assert ask("PATCH", where, b"more").status == 404
    assert ask("PUT", f"{where}?digest={digest(content)}", b"").status == 404
    where = ask("POST", "/blobs/uploads/", b"").headers["Location"]
    assert ask("PUT", f"{where}?digest={UNKNOWN}", b"other").status == 400
    where = ask("POST", "/blobs/uploads/", b"").headers["Location"]
    assert ask("PUT", where, b"no digest").status == 400
    empty = ask("POST", "/blobs/uploads/", b"").headers["Location"]
    assert ask("PUT", f"{empty}?digest={digest(b'')}", b"").status == 201
    assert ask("GET", f"/blobs/{digest(b'')}").body == b""


def test_end_7_storing_manifests(host: str) -> None:
    ask, image = Asked(host, "put/a"), small_image(mark="put")
    refused = ask("PUT", "/manifests/1", image.manifest, Content_Type=image.media_type)
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    for data in (image.config, image.layer):
        put_blob(host, "put/a", data)
    stored = ask("PUT", "/manifests/1?tag=2&tag=3", image.manifest, Content_Type=image.media_type)
    assert stored.status == 201
    assert stored.headers["Location"] == f"/v2/put/a/manifests/{digest(image.manifest)}"
    assert [ask("HEAD", f"/manifests/{tag}").status for tag in "123"] == [200] * 3
    path = f"/manifests/{digest(image.manifest)}"
    assert ask("PUT", path, image.manifest, Content_Type=image.media_type).status == 201
    wrong = ask("PUT", f"/manifests/{UNKNOWN}", image.manifest, Content_Type=image.media_type)
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    assert ask("PUT", "/manifests/x", b"no json", Content_Type=image.media_type).status == 400
    assert ask("PUT", "/manifests/x", image.manifest, Content_Type=OCI).code == "MANIFEST_INVALID"
    untyped = json.loads(image.manifest)
    untyped["annotations"] = {"a": "b"}
    data = json.dumps(untyped).encode()
    assert ask("PUT", "/manifests/untyped", data, Content_Type="").status == 201
    assert ask("GET", "/manifests/untyped").headers["Content-Type"] == image.media_type
    large = json.dumps({**untyped, "pad": "x" * (3_900_000)}).encode()
    assert ask("PUT", "/manifests/large", large, Content_Type=image.media_type).status == 201
    too_large = json.dumps({**untyped, "pad": "x" * 4_300_000}).encode()
    answer = ask("PUT", "/manifests/large", too_large, Content_Type=image.media_type)
    assert answer.status == 413


def test_end_8_tags_and_the_catalogue_in_pages(host: str) -> None:
    ask, image = Asked(host, "tags/a"), small_image(mark="tags")
    for tag in ("c", "a", "b", "B"):
        put_image(host, "tags/a", tag, image)
    assert json.loads(ask("GET", "/tags/list").body)["tags"] == ["B", "a", "b", "c"]
    assert json.loads(ask("GET", "/tags/list?n=0").body)["tags"] == []
    page, seen = ask("GET", "/tags/list?n=3"), []
    seen += json.loads(page.body)["tags"]
    following = page.headers["Link"].partition(">")[0].lstrip("<")
    page = ask("GET", following)
    assert "Link" not in page.headers
    assert seen + json.loads(page.body)["tags"] == ["B", "a", "b", "c"]
    assert json.loads(ask("GET", "/tags/list?last=a").body)["tags"] == ["b", "c"]
    assert ask("GET", "/tags/list?n=x").status == 400
    assert http("GET", f"http://{host}/v2/tags/none/tags/list").code == "NAME_UNKNOWN"
    put_image(host, "tags/b", "1", image)
    found = json.loads(ask("GET", "/v2/_catalog?n=1&last=tags/a").body)
    assert found == {"repositories": ["tags/b"]}


def test_end_9_to_11_deleting_and_mounting(host: str) -> None:
    ask, image = Asked(host, "del/a"), small_image(mark="del")
    put_image(host, "del/a", "1", image)
    put_image(host, "del/a", "2", image)
    assert ask("DELETE", "/manifests/1").status == 202
    assert [ask("HEAD", f"/manifests/{tag}").status for tag in "12"] == [404, 200]
    mounted = http(
        "POST",
        f"http://{host}/v2/del/b/blobs/uploads/?mount={digest(image.layer)}&from=del/a",
        b"",
    )
    assert mounted.status == 201
    assert mounted.headers["Location"] == f"/v2/del/b/blobs/{digest(image.layer)}"
    fallen_back = ask("POST", f"/blobs/uploads/?mount={UNKNOWN}&from=del/b", b"")
    assert (fallen_back.status, "uploads/" in fallen_back.headers["Location"]) == (202, True)
    assert ask("DELETE", f"/manifests/{digest(image.manifest)}").status == 202
    assert ask("HEAD", "/manifests/2").status == 404
    assert ask("DELETE", f"/manifests/{digest(image.manifest)}").status == 404
    assert ask("DELETE", f"/blobs/{digest(image.layer)}").status == 202
    assert ask("DELETE", f"/blobs/{digest(image.layer)}").status == 404
    there = http("HEAD", f"http://{host}/v2/del/b/blobs/{digest(image.layer)}")
    assert there.status == 200, "the other repository keeps it"


def test_end_12_referrers(host: str) -> None:
    ask, image = Asked(host, "ref/a"), small_image(mark="ref")
    subject = described(image.media_type, image.manifest)
    empty = ask("GET", f"/referrers/{subject['digest']}")
    assert (empty.status, json.loads(empty.body)["manifests"]) == (200, [])
    put_blob(host, "ref/a", b"{}")
    for number, kind in enumerate(("x/sbom", "x/sig", "x/sbom")):
        referrer = {
            "schemaVersion": 2, "mediaType": OCI, "artifactType": kind, "subject": subject,
            "config": described("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
            "annotations": {"number": str(number)},
        }  # fmt: skip
        data = json.dumps(referrer).encode()
        stored = ask("PUT", f"/manifests/{digest(data)}", data, Content_Type=OCI)
        assert stored.headers["OCI-Subject"] == subject["digest"]
    found = ask("GET", f"/referrers/{subject['digest']}")
    assert found.headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
    assert len(json.loads(found.body)["manifests"]) == 3
    chosen = ask("GET", f"/referrers/{subject['digest']}?artifactType=x/sbom")
    assert chosen.headers["OCI-Filters-Applied"] == "artifactType"
    entries = json.loads(chosen.body)["manifests"]
    assert sorted(entry["annotations"]["number"] for entry in entries) == ["0", "2"]
    assert {entry["artifactType"] for entry in entries} == {"x/sbom"}
    assert ask("GET", "/referrers/sha256:no").status == 400
    assert ask("DELETE", f"/manifests/{entries[0]['digest']}").status == 202
    assert len(json.loads(ask("GET", f"/referrers/{subject['digest']}").body)["manifests"]) == 2


def test_end_13_and_14_a_session_is_asked_about_and_given_up(host: str) -> None:
    ask = Asked(host, "session/a")
    where = ask("POST", "/blobs/uploads/", b"").headers["Location"]
    ask("PATCH", where, b"x" * 10, **OCTETS)
    assert ask("GET", where).headers["Range"] == "0-9"
    assert ask("DELETE", where).status == 204
    assert (ask("GET", where).status, ask("DELETE", where).status) == (404, 404)
    assert ask("GET", "/blobs/uploads/none").status == 404


def test_collection_while_others_push_takes_nothing_they_need(tmp_path: Path) -> None:
    """Every push that was accepted can be pulled whole, though the collector never rests."""
    ending = time.monotonic() + 6
    failures: list[str] = []
    kept: list[tuple[str, SmallImage]] = []

    def pusher(host: str, number: int) -> None:
        shared = os.urandom(3000)
        for turn in range(10_000):
            if time.monotonic() > ending or failures:
                return
            image = small_image(shared if turn % 2 else os.urandom(3000), f"{number}/{turn}")
            name = f"r{number % 2}/x"
            try:
                put_image(host, name, f"t{number}", image)
                check(host, name, image)
            except AssertionError as error:
                failures.append(f"{number}/{turn}: {error}")
            if turn % 3 == 0:
                url = f"http://{host}/v2/{name}/manifests/{digest(image.manifest)}"
                http("DELETE", url)
            elif turn % 3 == 1:
                kept.append((name, image))

    flags = ("--gc-every", "0.05", "--gc-grace", "2")
    with pier_registry(tmp_path / "root", *flags) as host:
        threads = [threading.Thread(target=pusher, args=(host, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(kept) > 10
        time.sleep(3)  # what nobody needs is old enough now
        for name, image in kept:
            check(host, name, image)
        metrics = http("GET", f"http://{host}/metrics").body.decode()
    line = next(x for x in metrics.splitlines() if x.startswith("pier_registry_collected_bytes_t"))
    assert float(line.split()[1]) > 0


def check(host: str, name: str, image: SmallImage) -> None:
    found = http("GET", f"http://{host}/v2/{name}/manifests/{digest(image.manifest)}")
    assert found.body == image.manifest, found.status
    for data in (image.config, image.layer):
        assert http("GET", f"http://{host}/v2/{name}/blobs/{digest(data)}").body == data


def test_every_metric_moves(tmp_path: Path) -> None:
    with pier_registry(tmp_path / "root") as host:
        image = small_image(os.urandom(5000))
        put_image(host, "a", "1", image)
        check(host, "a", image)
        put_manifest(host, "a", "2", image.media_type, image.manifest)
        text = http("GET", f"http://{host}/metrics").body.decode()
    for line in (
        "pier_registry_blob_received_bytes_total 5",
        "pier_registry_blob_sent_bytes_total 5",
        'pier_registry_requests_total{method="PUT",route="/v2/{name}/manifests/{reference}"',
        "pier_registry_request_seconds_bucket",
    ):
        assert line in text
