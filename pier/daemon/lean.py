"""aiohttp, imported without the certificates it would load.

It makes a TLS context with all of the host's when it is imported, 1.7 MB. Nobody uses it: those who
go out make their own when they do (registry/tls.py, build/fetch.py).
"""

import os

_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks first; SSL_CTX_load_verify_locations(3)."""


def import_aiohttp() -> None:
    """Before anybody else imports it."""
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        import aiohttp  # noqa: F401
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
