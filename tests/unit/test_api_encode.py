"""JSON of what containers name as they like."""

import json

import msgspec

from pier.api.schema.encode import encode
from pier.build.cache import file_inputs


class Named(msgspec.Struct):
    name: str


def test_bytes_that_are_no_text_are_replaced() -> None:
    odd = b"a\xff".decode(errors="surrogateescape")
    assert json.loads(encode([{odd: Named(odd)}, "\u00fc"])) == [
        {"a\ufffd": {"name": "a\ufffd"}},
        "\u00fc",
    ]


def test_files_whose_names_are_no_text_are_inputs_of_their_own() -> None:
    names = [name.decode(errors="surrogateescape") for name in (b"a\xff", b"a\xfe", b"a\\xff")]
    inputs = file_inputs([(name, str(number)) for number, name in enumerate(names)])
    assert len(inputs) == 3
    json.dumps(inputs).encode()
    many = file_inputs((f"{names[0]}/{number}", "x") for number in range(100_000))
    assert all(name.encode() for name in many)
