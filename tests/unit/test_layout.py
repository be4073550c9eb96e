"""Where code is found: a module says what it is for, is named after it, and fits in a head."""

import ast
from pathlib import Path

import pytest

PIER = Path(__file__).parents[2] / "pier"
MODULES = sorted(path for path in PIER.rglob("*.py") if path != PIER / "__main__.py")
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
VAGUE = {"utils", "util", "helpers", "common", "misc", "core", "manager"}
LONGEST = 400


def name(path: Path) -> str:
    parts = path.relative_to(PIER.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_bytes()))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_bytes().splitlines()) <= LONGEST


def test_names_say_what_is_inside() -> None:
    assert [name(path) for path in MODULES if VAGUE & set(name(path).split("."))] == []


@pytest.mark.parametrize("path", PACKAGES, ids=name)
def test_a_package_is_introduced_and_no_more(path: Path) -> None:
    """What an __init__ imports, everyone pays for who wants one module of the package."""
    assert len(ast.parse(path.read_bytes()).body) == 1
