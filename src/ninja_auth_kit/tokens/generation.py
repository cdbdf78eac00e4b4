"""Making keys. Nothing is stored: whoever asks for one puts it where the settings find it."""

import secrets
from typing import NamedTuple

from ninja_auth_kit.tokens.asymmetric import load_key, new_pem
from ninja_auth_kit.tokens.keys import ALGORITHMS, key_id


class NewKey(NamedTuple):
    """A key that no settings have yet; `text` is a secret, or a private key as PEM."""

    kid: str
    algorithm: str
    text: str

    def __repr__(self) -> str:
        return f"<NewKey {self.kid} {self.algorithm}>"


def generate_key(algorithm: str) -> NewKey:
    """Return a new key for an algorithm.

    Raises:
        KeyFaultError: it is asymmetric, and `cryptography` is not installed.
    """
    if algorithm in ALGORITHMS:
        secret = secrets.token_urlsafe(64)
        return NewKey(key_id("access token", secret), algorithm, secret)
    pem = new_pem(algorithm)
    return NewKey(load_key(pem, algorithm).kid, algorithm, pem)
