"""Credentials as the API hands them to the engine.

What is asked of containers is in `pier.containers.requests`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    username: str = ""
    password: str = ""
    server: str = ""
    identity_token: str = ""
    registry_token: str = ""
