"""Foreign bytes at our registry and in its files: read, or refused with a reason."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import InvalidArgument
from pier.oci.digest import digest_of
from pier.registry import hosts_toml
from pier.registry.credentials import parse_auth_header, parse_basic
from pier.registry.protocol import SCHEMA1
from pier.registry.server.faults import Fault
from pier.registry.server.htpasswd import parse_htpasswd
from pier.registry.server.parsing import parse_manifest

OCI = "application/vnd.oci.image.manifest.v1+json"
BLOB = {"mediaType": "x/y", "digest": digest_of(b"x"), "size": 1}

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["config", "layers", "manifests", "subject", "digest", "mediaType"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def test_a_manifest_gives_what_it_refers_to() -> None:
    data = {
        "schemaVersion": 2,
        "config": {**BLOB, "mediaType": "application/x.config"},
        "layers": [BLOB, {**BLOB, "digest": digest_of(b"far"), "urls": ["https://far"]}],
        "subject": {**BLOB, "digest": digest_of(b"subject")},
        "annotations": {"a": "b"},
    }
    parsed = parse_manifest(OCI, json.dumps(data).encode())
    assert parsed.blobs == (digest_of(b"x"), digest_of(b"x"))
    assert parsed.subject == digest_of(b"subject")
    assert parsed.artifact_type == "application/x.config"
    assert parsed.referrer(digest_of(b"m"), 5).annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        (SCHEMA1[0], b"{}"),
        (OCI, b"{}"),
        (OCI, b'{"mediaType":"other/type","layers":[]}'),
        (OCI, b'{"layers":[{"digest":"sha256:zz"}]}'),
        (OCI, b"\xff"),
        (OCI, b"[" * 100_000),
    ],
)
def test_what_is_no_manifest_is_refused(media_type: str, data: bytes) -> None:
    with pytest.raises(Fault, match="manifest invalid") as raised:
        parse_manifest(media_type, data)
    assert raised.value.entry.code == "MANIFEST_INVALID"


@given(_JSON)
def test_no_document_breaks_the_manifest_parser(document: object) -> None:
    with contextlib.suppress(Fault):
        parse_manifest(OCI, json.dumps(document).encode())


@given(st.text(max_size=300))
def test_no_text_breaks_the_parsers_of_files_and_headers(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_htpasswd(text, "file")
    with contextlib.suppress(InvalidArgument):
        hosts_toml.parse(text, Path("hosts.toml"))
    parse_auth_header(text)
    parse_basic(text)


@pytest.mark.parametrize(
    "text",
    [
        'server = 3\n[host."https://x"]',
        'host = "x"',
        '[host."https://x"]\nclient = [[1]]',
        '[host."https://x"]\nclient = [[]]',
        '[host."https://x"]\nca = 3',
        '[host."https://x"]\nheader = 3',
        '[host]\n"https://x" = 3',
        '[host."https://[x"]',
    ],
)
def test_a_hosts_toml_of_wrong_types_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"hosts\.toml"):
        hosts_toml.parse(text, Path("hosts.toml"))
