#!@PIER@/.venv/bin/python -IS
"""`pier` on the PATH, written by install.sh: the client without the price of Python's site module.

`-S` and `-I` skip what a quick `pier ps` does not need: .pth files, the user's directory, PYTHON*.
The daemon and the registry live long and get the whole interpreter.
"""

import sys

if sys.argv[1:2] in (["daemon"], ["registry"]):
    import os

    python = "@PIER@/.venv/bin/python"
    os.execv(python, [python, "-I", "-m", "pier", *sys.argv[1:]])

sys.path[:0] = ["@PIER@"]
sys.path.append("@SITE@")

from pier.__main__ import main  # noqa: E402 - the path had to be set first

sys.exit(main())
