"""What a caller logs in with, and where it is kept: the keyring, else the environment or a file of mode 0600."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Login = Literal["app2", "app1", "person"]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The secrets of one log-in. Never printed: the representation shows its kind alone.

    login   `app2`: an application of API 2.0 (`client_id`, `client_secret`); `app1`: one of API 1.0 with the keys
            of a binding (`app_id`, `app_key`, `access_key`, `secret_key`); `person`: the same keys, of a person
            who logged in with a password, which renews the binding when it has expired if it is at hand
    """

    login: Login
    client_id: str = ""
    client_secret: str = ""
    app_id: str = ""
    app_key: str = ""
    access_key: str = ""
    secret_key: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.login!r})"
