"""How lists are shown: tables, one JSON object a line, or a template.

A list's *fields* are named columns: a header and a function of the row. Formats are Docker's:
`table`, `json`, `table TEMPLATE`, `TEMPLATE`. Columns are laid out as Go's tabwriter does with a
least width of 10 and three spaces between.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Row = Any  # JSON of the daemon, or what a command makes of it
    Fields = Mapping[str, "Field"]
    Label = tuple[str, str]

LEAST_WIDTH = 10
PADDING = 3


class Field:
    """One column. A `method` takes an argument in templates (`{{.Label "x"}}`); it has no JSON."""

    __slots__ = ("header", "method", "value")

    def __init__(
        self, header: str, value: Callable[[Row], object], *, method: bool = False
    ) -> None:
        self.header = header
        self.value = value
        self.method = method


class View:
    """A row as a template sees it: fields as attributes, computed when they are asked for."""

    def __init__(self, fields: Fields, row: Row) -> None:
        self._fields = fields
        self._row = row

    def __getattr__(self, name: str) -> object:
        field = self._fields.get(name)
        if field is None:
            raise AttributeError(name)
        return field.value(self._row)

    def Label(self, name: str) -> object:  # noqa: N802 - a method of Docker's templates
        """`{{.Label "x"}}`: engines call methods, not attributes that happen to be functions."""
        if "Label" not in self._fields:
            raise AttributeError("Label")
        labels = self._fields["Label"].value(self._row)
        return labels.get(name, "") if isinstance(labels, dict) else ""

    def to_json(self) -> dict[str, object]:
        fields = sorted(self._fields.items())
        return {name: f.value(self._row) for name, f in fields if not f.method}


class Headers:
    """Stands for a row when a template makes the header line."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> object:
        field = self._fields.get(name)
        if field is None:
            raise AttributeError(name)
        return field.header

    def Label(self, name: str) -> str:  # noqa: N802 - see View
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def show(
    rows: Iterable[Row],
    fields: Fields,
    default: Sequence[str],
    form: str = "",
    *,
    raw: Sequence[Label] = (),
) -> None:
    """Write `rows` to stdout in the format `form`."""
    sys.stdout.write(listing(rows, fields, default, form, raw=raw))


def listing(
    rows: Iterable[Row],
    fields: Fields,
    default: Sequence[str],
    form: str = "",
    *,
    raw: Sequence[Label] = (),
) -> str:
    """Return `rows` in the format `form`: '' is a table of the `default` fields.

    raw: the lines of the format `raw`, each a label and a field; () where there is none.
    """
    if form in ("", "table"):
        lines = ["\t".join(fields[name].header for name in default)]
        chosen = [fields[name].value for name in default]
        lines += ["\t".join([str(value(row)) for value in chosen]) for row in rows]
        return align(lines)
    if form == "json":
        from pier.cli.jsonlite import json_line

        return "".join(json_line(View(fields, row).to_json()) + "\n" for row in rows)
    table = form.startswith("table ")
    if form == "raw" and raw:
        form = "".join(f"{label}: {{{{.{name}}}}}\\n" for label, name in raw)
    template = form.removeprefix("table ").replace("\\t", "\t").replace("\\n", "\n")
    text = [_fill(template, fields, row) for row in rows]
    if not table:
        return "".join(line + "\n" for line in text)
    return align("\n".join([_header(template, fields), *text]).split("\n"))


def quiet(rows: Iterable[Row], field: Field) -> None:
    """Write one field of each row: `-q`."""
    sys.stdout.write("".join(f"{field.value(row)}\n" for row in rows))


def align(lines: Sequence[str]) -> str:
    """Lay out tab-separated cells in columns; a column is a run of lines that have it."""
    table = [line.split("\t") for line in lines]
    widths: list[list[int]] = [[] for _ in table]
    for column in range(max(map(len, table), default=0) - 1):
        start = 0
        while start < len(table):
            end = start
            while end < len(table) and len(table[end]) - 1 > column:
                end += 1
            width = max([LEAST_WIDTH, *(len(r[column]) + PADDING for r in table[start:end])])
            for row in range(start, end):
                widths[row].append(width)
            start = max(end, start + 1)
    return "".join(
        "".join([cell.ljust(width) for cell, width in zip(cells, spaces, strict=False)])
        + cells[-1]
        + "\n"
        for cells, spaces in zip(table, widths, strict=True)
    )


def _fill(template: str, fields: Fields, row: Row) -> str:
    """Fill in a template. Bare fields, what scripts use, need no template engine."""
    pieces = simple_pieces(template)
    if pieces is None or not all(name in fields for _, name in pieces if name):
        from pier.cli.templates import render

        return render(template, View(fields, row))
    values = [text + (_text(fields[name].value(row)) if name else "") for text, name in pieces]
    return "".join(values)


def _header(template: str, fields: Fields) -> str:
    pieces = simple_pieces(template)
    if pieces is None or not all(name in fields for _, name in pieces if name):
        from pier.cli.templates import render_header

        return render_header(template, Headers(fields))
    return "".join([text + (fields[name].header if name else "") for text, name in pieces])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def simple_pieces(template: str) -> list[tuple[str, str]] | None:
    """Split `a{{.B}}c` into [("a", "B"), ("c", "")]; None if it does more than name fields."""
    pieces: list[tuple[str, str]] = []
    rest = template
    while rest:
        text, opening, rest = rest.partition("{{")
        if not opening:
            pieces.append((text, ""))
            break
        action, closing, rest = rest.partition("}}")
        name = action.strip(" ")
        if not closing or name[:1] != "." or not name[1:].isidentifier():
            return None
        pieces.append((text, name[1:]))
    return pieces


def ellipsis(text: str, width: int) -> str:
    """Cut `text` to `width` characters, the last of which is then an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_id(text: str) -> str:
    """Return the first twelve digits of an ID, without its algorithm."""
    return text.partition(":")[2][:12] if ":" in text else text[:12]


def format_labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())
