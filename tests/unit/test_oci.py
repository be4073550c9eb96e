import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import InvalidArgument
from pier.oci.digest import Descriptor, digest_of
from pier.oci.image import (
    Healthcheck,
    History,
    ImageConfig,
    RunConfig,
    TooManyLayers,
    chain_ids,
    format_image_config,
    parse_image_config,
)
from pier.oci.manifest import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    InvalidManifest,
    Manifest,
    Schema1Refused,
    format_manifest,
    parse_manifest,
)
from pier.oci.platform import (
    Platform,
    amd64_level,
    choose,
    matches,
    parse_platform,
    to_platform,
)
from pier.oci.timestamp import format_time, parse_time

A, B = digest_of(b"a"), digest_of(b"b")


def test_a_config_keeps_its_bytes_and_survives_nulls() -> None:
    raw = json.dumps({
        "architecture": "amd64", "os": "linux", "unknown": {"kept": True},
        "created": "2024-01-02T03:04:05.000000006+01:00",
        "config": {"Env": None, "Cmd": ["sh"], "Labels": None, "ExposedPorts": {"80/tcp": None},
                   "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}},
        "rootfs": {"type": "layers", "diff_ids": [A]},
        "history": [{"created_by": "x", "empty_layer": True}],
    }).encode()  # fmt: skip
    config = parse_image_config(raw)
    assert config.raw == raw
    assert config.created_ns == 1704161045 * 10**9 + 6
    assert config.run.cmd == ("sh",)
    assert config.run.exposed_ports == ("80/tcp",)
    assert config.run.healthcheck == Healthcheck(test=("CMD", "x"), interval_ns=5)
    assert config.history == (History(created_by="x", empty_layer=True),)
    assert config.diff_ids == (A,)


def test_a_config_made_here_reads_back_as_it_was() -> None:
    config = ImageConfig(
        architecture="arm64", os="linux", variant="v8", created_ns=1_700_000_000_123_456_789,
        author="me", diff_ids=(A, B), history=(History(created_ns=5, comment="c"),),
        run=RunConfig(
            user="u", exposed_ports=("1/udp",), env=("A=1",), entrypoint=(), cmd=("x",),
            volumes=("/v",), working_dir="/w", labels={"k": "v"}, stop_signal="SIGINT",
            healthcheck=Healthcheck(test=("NONE",), retries=3), on_build=("RUN x",),
            shell=("/bin/bash", "-c"),
        ),
    )  # fmt: skip
    data = format_image_config(config)
    assert parse_image_config(data) == config
    assert format_image_config(config) == data


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"config": 1}', b'{"rootfs": {"diff_ids": ["x"]}}',
             b'{"os": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000])  # fmt: skip
def test_bad_configs_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_image_config(data)


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_parsers(data: bytes) -> None:
    for parse in (parse_image_config, parse_manifest):
        try:
            parse(data)
        except InvalidArgument:
            continue


def test_chain_ids_are_the_specifications() -> None:
    expected = digest_of(f"{A} {B}".encode())
    assert chain_ids([A, B]) == (A, expected)
    assert chain_ids([]) == ()
    with pytest.raises(TooManyLayers, match="max depth exceeded"):
        chain_ids([A] * 126)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [("1970-01-01T00:00:01Z", 10**9), ("1970-01-01T01:00:00.5+01:00", 500_000_000),
     ("0001-01-01T00:00:00Z", 0), ("", 0), ("yesterday", 0), ("2024-13-01T00:00:00Z", 0),
     ("1969-12-31T23:59:59.25Z", -750_000_000), ("9999-12-31T23:59:60Z", 253402300799 * 10**9)],
)  # fmt: skip
def test_times_have_nanoseconds(text: str, time_ns: int) -> None:
    assert parse_time(text) == time_ns


@given(st.integers(-(10**18), 4 * 10**18))
def test_times_read_back(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


def test_manifests_and_indexes_are_told_apart() -> None:
    manifest = format_manifest(Descriptor("c", A, 1), [Descriptor("l", B, 2)])
    parsed = parse_manifest(manifest, OCI_MANIFEST)
    assert isinstance(parsed, Manifest)
    assert (parsed.config.digest, parsed.layers[0].size, parsed.raw) == (A, 2, manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": A,
                "size": 1,
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
            },
            {
                "mediaType": OCI_MANIFEST,
                "digest": B,
                "size": 1,
                "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
            },
        ],
    }
    found = parse_manifest(json.dumps(index).encode())
    assert isinstance(found, Index)
    assert found.entries[0].platform == Platform("linux", "arm64")
    assert [entry.is_attestation for entry in found.entries] == [False, True]


@pytest.mark.parametrize(
    ("document", "media_type", "error"),
    [
        ({"schemaVersion": 1}, "", Schema1Refused),
        ({"schemaVersion": 2}, "", InvalidManifest),
        ({"schemaVersion": 2, "mediaType": OCI_INDEX, "config": {"digest": A, "size": 1}}, "",
         InvalidManifest),
        ({"schemaVersion": 2, "config": {"digest": A, "size": 1}, "manifests": []}, "",
         InvalidManifest),
        ({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"digest": A, "size": 1}},
         DOCKER_MANIFEST, InvalidManifest),
        ({"schemaVersion": 2, "config": {"digest": "md5:1", "size": 1}}, "", InvalidManifest),
        ({"schemaVersion": 2, "config": {"digest": A, "size": -1}}, "", InvalidManifest),
        ({"schemaVersion": 2, "config": {"digest": A, "size": 1},
          "layers": [{"digest": A, "size": 1}] * 126}, "", TooManyLayers),
    ],
)  # fmt: skip
def test_ambiguous_and_bad_manifests_are_refused(
    document: object, media_type: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parse_manifest(json.dumps(document).encode(), media_type)


HOST = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("linux/amd64", "linux/amd64"), ("linux/arm64/v8", "linux/arm64"), ("arm64", "linux/arm64"),
     ("linux/x86_64", "linux/amd64"), ("linux/armhf", "linux/arm/v7"), ("linux", "linux/amd64"),
     ("linux/arm", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"), ("aarch64", "linux/arm64"),
     ("Linux/AMD64", "linux/amd64"), ("macos", "darwin/amd64"), ("windows(10.0)", "windows/amd64"),
     ("linux/nonsense", "linux/nonsense"), ("386", "linux/386")],
)  # fmt: skip
def test_platforms_have_one_form(text: str, expected: str) -> None:
    assert str(parse_platform(text, HOST)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foobar", '"foobar": unknown operating system or architecture: invalid argument'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
        ("linux/", '"" is an invalid component of "linux/": platform specifier component must '
         'match "^[A-Za-z0-9_.-]+$": invalid argument'),
        ("", '"" is an invalid OS component of "": OSAndVersion specifier component must match '
         r'"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$"'
         ": invalid argument"),
        ("linux/am d64", '"am d64" is an invalid component of "linux/am d64": platform specifier '
         'component must match "^[A-Za-z0-9_.-]+$": invalid argument'),
    ],
)  # fmt: skip
def test_bad_platforms_are_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_platform(text, HOST)
    assert str(refused.value) == why


def test_the_nearest_platform_is_chosen() -> None:
    arm = [to_platform("linux", "arm", v) for v in ("v5", "v7", "v6")]
    assert choose([HOST, *arm], Platform("linux", "arm64")) == 2
    assert choose([*arm, Platform("linux", "arm64")], Platform("linux", "arm64")) == 3
    assert choose([*arm], Platform("linux", "arm", "v6")) == 2
    assert choose([*arm], HOST) is None
    assert choose([None], HOST) == 0
    assert choose([None], HOST, Platform("linux", "arm64")) is None
    assert choose([Platform("windows", "amd64")], HOST) is None
    assert matches(Platform("linux", "386"), HOST)
    assert not matches(HOST, Platform("linux", "arm64"))
    assert choose([Platform("linux", "amd64", "v3"), HOST], HOST) == 1


SECOND = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse sse2", ""),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3", "v2"),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx512f", "v2"),
        (
            "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
            "v3",
        ),
    ],
)
def test_an_x86_processor_has_a_level(flags: str, level: str) -> None:
    assert amd64_level(flags.split()) == level
