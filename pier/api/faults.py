"""Errors nobody had words for, as a client reads them. What the kernel refused is no bug."""

import os
import sqlite3

from pier.errors import PierError


def in_words(error: Exception) -> str:
    """As Docker would say it, without the names of Python's classes; a bug keeps its own."""
    if isinstance(error, PierError):
        return str(error)
    if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
        return "no space left on device"
    if isinstance(error, OSError) and error.errno:
        reason = (error.strerror or os.strerror(error.errno)).lower()
        return f"{error.filename}: {reason}" if error.filename else reason
    return f"{type(error).__name__}: {error}"
