"""Go templates, for `--format`: the one place that knows the engine (gotpl).

Go, text/template; Docker adds the functions in FUNCTIONS. The engine takes long to import: only
templates that do more than name fields come here. What Pier relies on is pinned by
tests/unit/test_cli_templates.py.
"""

from __future__ import annotations

from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json, json_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BAD_TEMPLATE = 64


def _to_json(value: object) -> str:
    to_json = getattr(value, "to_json", None)
    if to_json is not None:
        return json_line(to_json())
    return format_json(sorted_maps(value))


def sorted_maps(value: object) -> object:
    """Return JSON with the maps that are Go maps sorted; those that are structs keep their order.

    The API writes a struct's fields with a capital letter; a map's keys are names of the user.
    """
    from pier.cli.typed import plain

    value = plain(value)
    if isinstance(value, list):
        return [sorted_maps(item) for item in value]
    if not isinstance(value, dict):
        return value
    struct = all(key[:1].isupper() for key in value)
    keys = value if struct else sorted(value)
    return {key: sorted_maps(value[key]) for key in keys}


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _join(items: list[object] | None, separator: str) -> str:
    return separator.join(str(item) for item in items or [])


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    """Every word with a capital first letter, and the rest as it is: strings.Title."""
    import re

    return re.sub(r"(?<![A-Za-z0-9_])[a-z]", lambda found: found[0].upper(), text)


FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "json": _to_json,
    "split": _split,
    "join": _join,
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": _truncate,
}


def _same(value: object, *_rest: object) -> object:
    return value


HEADER_FUNCTIONS: Mapping[str, Callable[..., object]] = dict.fromkeys(FUNCTIONS, _same)


def render(template: str, data: object) -> str:
    """Fill in a list's template; raise Fault if it is none or names what does not exist."""
    return _render(template, data, FUNCTIONS, FORMAT_FAILED)


def render_object(template: str, data: object) -> str:
    """Fill in a template for one inspected object; raise Fault, 64 if it is no template."""
    text = render_paths(template, data)
    if text is not None:
        return text
    from pier.cli.typed import typed

    return _render(template, typed(data), FUNCTIONS, INSPECT_FAILED)


def render_message(template: str, data: object) -> str:
    """Fill in a template for one of the API's messages, whose attributes are a map."""
    from pier.cli.typed import typed

    return _render(template, typed(data), FUNCTIONS, FORMAT_FAILED)


def render_paths(template: str, data: object) -> str | None:
    """Fill in a template that only names paths, `{{.A.B}}` and `{{json .A}}`, without the engine.

    None if it does more, or if what it names is anything but there and plain.
    """
    pieces: list[str] = []
    rest = template
    while rest:
        text, opening, rest = rest.partition("{{")
        pieces.append(text)
        if not opening:
            break
        action, closing, rest = rest.partition("}}")
        shown = _plain(action.strip(" "), data) if closing else None
        if shown is None:
            return None
        pieces.append(shown)
    return "".join(pieces)


def _plain(action: str, data: object) -> str | None:
    as_json = action.startswith("json .")
    path = action.removeprefix("json ")
    names = path[1:].split(".") if path != "." else []
    if not path.startswith(".") or not all(name.isidentifier() for name in names):
        return None
    value = data
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    if as_json:
        return _to_json(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def render_header(template: str, data: object) -> str:
    return _render(template, data, HEADER_FUNCTIONS, FORMAT_FAILED)


def _render(
    template: str, data: object, functions: Mapping[str, Callable[..., object]], failed: Failed
) -> str:
    import gotpl

    try:
        return gotpl.render(
            template,
            data,
            name="",
            functions=functions,
            missing_key="error",
        )
    except gotpl.TemplateSyntaxError as error:
        raise Fault(f"{failed.parsing}: {_syntax(str(error))}", failed.code) from error
    except gotpl.TemplateError as error:
        raise Fault(f"{failed.executing}: {_execution(str(error), template)}") from error


def _syntax(text: str) -> str:
    """Return the engine's `template:1:9: function 'x' not defined` as Go says it."""
    import re

    match = re.match(r"(?:template)?:?(\d+):\d+: (.*)", text, re.DOTALL)
    if not match:
        return f"template: {text}"
    return f"template: :{match[1]}: {match[2]}".replace("'", '"')


def _execution(text: str, template: str) -> str:
    """Return the engine's message with the place it names, `at <.Foo>`, as Go has it."""
    import re

    match = re.search(r':(\d+):(\d+): executing "[^"]*"(?: at <[^>]*>)?: (.*)', text, re.DOTALL)
    if not match:
        return text
    line, column = int(match[1]), int(match[2]) - 1
    lines = template.split("\n")
    rest = lines[line - 1][column:] if line <= len(lines) else ""
    place = re.match(r"[^\s}|)]*", rest)
    reason = match[3]
    missing = re.match(r"missing key or attribute '(.*)'", reason)
    if missing:
        column = column - 1 if rest and not rest.startswith(".") else column
        reason = f'map has no entry for key "{missing[1]}"'
    at = f"<.{missing[1]}>" if missing else f"<{place[0] if place else ''}>"
    return f'template: :{line}:{column}: executing "" at {at}: {reason}'


class Failed:
    """How a command reports a bad template."""

    __slots__ = ("code", "executing", "parsing")

    def __init__(self, parsing: str, executing: str, code: int) -> None:
        self.parsing = parsing
        self.executing = executing
        self.code = code


FORMAT_FAILED = Failed("failed to parse template", "failed to execute template", 1)
INSPECT_FAILED = Failed("template parsing error", "template parsing error", BAD_TEMPLATE)
