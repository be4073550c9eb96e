"""Which runtimes an operator is warned of."""

import pytest

from pier.runtime.known_flaws import warning


@pytest.mark.parametrize(
    ("program", "version", "warned"),
    [
        ("runc", "1.1.5+ds1", True),
        ("runc", "1.2.7", True),
        ("runc", "1.2.8", False),
        ("runc", "1.3.2", True),
        ("runc", "1.3.6+ds1", False),
        ("runc", "1.4.0", False),
        ("runc", "2", False),
        ("runc", "", False),
        ("crun", "1.8.1", False),
        ("own", "0.1.0", False),
    ],
)
def test_old_runcs_are_named(program: str, version: str, warned: bool) -> None:
    text = warning("custom", program, version)
    assert text.startswith(f"WARNING: runtime custom is runc {version},") if warned else not text
