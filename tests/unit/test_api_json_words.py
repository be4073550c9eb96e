"""What is wrong with JSON, in Go's words."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api.schema.config import CreateBody
from pier.api.schema.decode import InvalidJson, convert
from pier.api.schema.execs import ExecBody
from pier.api.schema.json_words import syntax_words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{invalid json", "invalid character 'i' looking for beginning of object key string"),
        (b"{", "unexpected EOF"),
        (b" \n", "got EOF while reading request body"),
        (b'{"a":', "unexpected EOF"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"[[{}, x]]", "invalid character 'x' looking for beginning of value"),
        (b'{"Tty":tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b'["\\x"]', "invalid character 'x' in string escape code"),
        (b'["\\u12g4"]', "invalid character 'g' in \\u hexadecimal character escape"),
        (b'["a\nb"]', "invalid character '\\n' in string literal"),
        (b"[-x]", "invalid character 'x' in numeric literal"),
        (b"[1.x]", "invalid character 'x' after decimal point in numeric literal"),
        (b"[1e+]", "invalid character ']' in exponent of numeric literal"),
        (b"['a']", r"invalid character '\'' looking for beginning of value"),
        (b'{"a":[1,{"b":"\\u00e9\\n"}],"c":-1.5e-3}', ""),
    ],
)
def test_syntax(data: bytes, words: str) -> None:
    assert syntax_words(data) == words


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_nothing_is_wrong_with_any_json(value: object, ascii_only: bool) -> None:
    assert syntax_words(json.dumps(value, ensure_ascii=ascii_only).encode()) == ""


@given(st.binary(max_size=30) | st.text('{}[]",:1.e-tn\\u', max_size=30).map(str.encode))
def test_what_msgspec_refuses_is_wrong_here_too(data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        # What comes after a value, as the digits after a zero do for Go, is told elsewhere.
        if "trailing" not in str(error) and not re.match(rb"\s*-?0[0-9]", data):
            assert syntax_words(data)
    except UnicodeDecodeError:
        pass


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ([], CreateBody, "array into Go value of type container.CreateRequest"),
        ({"Tty": "x"}, CreateBody, "string into Go struct field CreateRequest.Tty of type bool"),
        (
            {"HostConfig": {"Memory": "x"}},
            CreateBody,
            "string into Go struct field CreateRequest.HostConfig.Memory of type int64",
        ),
        (
            {"HostConfig": {"RestartPolicy": 3}},
            CreateBody,
            "number into Go struct field CreateRequest.HostConfig.RestartPolicy of type "
            "container.RestartPolicy",
        ),
        ({"Env": [1]}, ExecBody, "number into Go struct field ExecOptions.Env.0 of type string"),
        ({"Env": {}}, ExecBody, "object into Go struct field ExecOptions.Env of type []string"),
        (
            {"Labels": {"a": 1}},
            CreateBody,
            "number into Go struct field CreateRequest.Labels.... of type string",
        ),
    ],
)
def test_kinds(value: object, kind: type, words: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        convert(value, kind)
    assert str(refused.value) == f"invalid JSON: json: cannot unmarshal {words}"
