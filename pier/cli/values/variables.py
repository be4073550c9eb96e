"""Environment variables and labels: `-e`, `--env-file`, `-l`, `--label-file`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_FILE = 16 << 20


def check_env(text: str) -> str:
    """Return a `-e` value; one without `=` gets its value from our own environment."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals or name not in os.environ:
        return text
    return f"{name}={os.environ[name]}"


def check_label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def read_env(files: Iterable[str], values: Iterable[str]) -> list[str]:
    """Return the variables of the files, then those of the flags."""
    variables: list[str] = []
    for path in files:
        for line in read_lines(path):
            name, equals, value = line.partition("=")
            if equals:
                variables.append(f"{name}={value}")
            elif name in os.environ:
                variables.append(f"{name}={os.environ[name]}")
    return variables + list(values)


def read_labels(files: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    return parse_map([line for path in files for line in read_lines(path)] + list(values))


def read_lines(path: str) -> list[str]:
    """Return the `name=value` and `name` lines of a file without its comments."""
    with open(path, encoding="utf-8-sig", errors="strict") as file:
        text = file.read(_MAX_FILE)
    lines = []
    for line in text.splitlines():
        line = line.lstrip()  # noqa: PLW2901 - spaces before a name are not part of it
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name or any(character.isspace() for character in name):
            wrong = (
                f"variable '{name}' contains whitespaces"
                if name
                else f"no variable name on line '{line}'"
            )
            raise ValueError(f"invalid env file ({path}): {wrong}")
        lines.append(line)
    return lines


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """Return `a=b` pairs as a map; a name alone has an empty value."""
    split = (pair.partition("=") for pair in pairs)
    return {name: value for name, _, value in split}


_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def proxy_variables(
    proxies: Mapping[str, Mapping[str, str]], host: str, taken: Iterable[str]
) -> list[str]:
    """Return the proxy variables that config.json has for this daemon, unless `taken`."""
    chosen = proxies.get(host) or proxies.get("default") or {}
    names = set(taken)
    variables: list[str] = []
    for key, name in _PROXIES.items():
        spellings = (name, name.lower()) if chosen.get(key) else ()
        variables += [f"{text}={chosen[key]}" for text in spellings if text not in names]
    return variables
