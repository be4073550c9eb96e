"""The key sequence by which a client leaves a container running. Pure."""


class DetachKeys:
    """Finds `keys` in what a person types, across reads. Without keys everything passes.

    The beginning of the sequence is held back until the next key decides, as Docker does: a
    lone ctrl-p arrives with the key after it.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes on to the container, and whether the sequence was complete."""
        if not self._keys:
            return data, False
        text = self._held + data
        found = text.find(self._keys)
        if found >= 0:
            self._held = b""
            return text[:found], True
        held = self._prefix_at_end(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held], False

    def end(self) -> bytes:
        """What was held back, when nothing more will come."""
        held, self._held = self._held, b""
        return held

    def _prefix_at_end(self, text: bytes) -> int:
        for length in range(min(len(self._keys) - 1, len(text)), 0, -1):
            if self._keys.startswith(text[-length:]):
                return length
        return 0
