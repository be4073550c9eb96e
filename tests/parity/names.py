"""Who an ID is: `<container web>` instead of 64 digits that are others tomorrow."""

import itertools
import re

from tests.parity.engine import Engine

_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")
_MADE_UP = re.compile(r"[a-z]+_[a-z]+\d?")
SHORT = 12


class Names:
    """The objects of one engine, found when an ID is met for the first time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._names: dict[str, str] = {}

    def replace(self, text: str) -> str:
        """Put names for IDs, whole or short.

        An ID that nobody has, or somebody without a name of ours, is numbered within this text.
        """
        if any(self._find(found) is None for found in _ID.findall(text)):
            self._learn()
        strangers: dict[str, str] = {}

        def name(match: re.Match[str]) -> str:
            digits = match.group()
            known = self._find(digits)
            if known is None:
                known = strangers.setdefault(digits[:SHORT], f"id-{len(strangers) + 1}")
            return f"<{known}…>" if len(digits) == SHORT else f"<{known}>"

        return _ID.sub(name, text)

    def _find(self, digits: str) -> str | None:
        return self._names.get(digits[:SHORT])

    def _learn(self) -> None:
        for kind, digits, name in self._engine.objects():
            made_up = not name or (kind == "container" and _MADE_UP.fullmatch(name))
            if not made_up and digits[:SHORT] not in self._names:
                self._names[digits[:SHORT]] = self._unused(f"{kind} {name}")

    def _unused(self, name: str) -> str:
        """`name`, with a number if an earlier object had it, too."""
        taken = self._names.values()
        numbered = (f"{name} {number}" for number in itertools.count(2))
        return name if name not in taken else next(n for n in numbered if n not in taken)
