"""The keys of access tokens: the one that signs, those that verify, and new ones."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS
from ninja_auth_kit.tokens.asymmetric import load_key, new_pem
from ninja_auth_kit.tokens.digests import key_id

TYPE = "at+jwt"  # RFC 9068 section 2.1
ACTIVE = "active"
VERIFY_ONLY = "verify-only"


class AccessKey:
    """A key with its one algorithm (RFC 8725 section 3.1).

    Attributes:
        header: the only header that tokens of this key have.
        jwk: the public key for other services, as in RFC 7517; None for a secret.
    """

    def __init__(self, *, algorithm: str, key: str, state: str) -> None:
        from ninja_auth_kit.tokens.signatures import jws_of  # imports PyJWT

        self.algorithm, self.state = algorithm, state
        self.jwk: dict[str, str] | None = None
        if algorithm in HMAC_ALGORITHMS:
            self.kid = key_id("access token", key)
            self._private = self._public = key.encode()
        else:
            pair = load_key(key, algorithm)
            self.kid, self.jwk, self._private, self._public = pair.kid, pair.jwk, pair.private, pair.public
        self.header = {"alg": algorithm, "typ": TYPE, "kid": self.kid}
        self._jws = jws_of(algorithm)
        self._algorithm = self._jws.get_algorithm_by_name(algorithm)

    def __repr__(self) -> str:
        return f"<AccessKey {self.kid} {self.algorithm} {self.state}>"

    @property
    def can_sign(self) -> bool:
        """Whether the private key is known, or the key is a secret."""
        return self._private is not None

    def sign(self, payload: bytes) -> str:
        """Return the compact JWS of a payload."""
        return self._jws.encode(payload, self._private, self.algorithm, self.header)

    def verify(self, token: str) -> None:
        """Check the signature of a compact JWS.

        The caller has checked the alphabet, and that the header is `header`. This uses only the
        algorithm: PyJWS would parse the whole token again, one character at a time.

        Raises:
            InvalidTokenError: the signature is not from this key.
        """
        signed, _, segment = token.rpartition(".")
        signature = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        is_canonical = urlsafe_b64encode(signature).rstrip(b"=") == segment.encode()
        if not is_canonical or not self._algorithm.verify(signed.encode(), self._public, signature):
            raise InvalidTokenError


@dataclass(frozen=True, eq=False)
class KeyRing:
    """The configured keys.

    Attributes:
        keys: all keys: `JWT_SECRET_KEY`, then those of `SIGNING_KEYS` in their order.
        signing: the key that signs.
        verifying: the keys that verify, by `kid`. All of them are HMAC keys, or all are asymmetric
            (RFC 8725 section 2.1).
    """

    keys: tuple[AccessKey, ...]
    signing: AccessKey
    verifying: Mapping[str, AccessKey]

    @property
    def public(self) -> list[dict[str, str]]:
        """The public keys as JWKs, including those that do not sign yet or do not sign any more."""
        return [key.jwk for key in self.keys if key.jwk is not None]


def key_ring() -> KeyRing:
    """Return the configured keys. `check_keys` has checked them at start."""
    listed = tuple((entry["alg"], entry["key"], entry["state"]) for entry in settings.SIGNING_KEYS or ())
    return _key_ring(settings.JWT_SECRET_KEY, settings.JWT_ALGORITHM, listed)


@lru_cache(maxsize=8)
def _key_ring(secret: str, algorithm: str, listed: tuple[tuple[str, str, str], ...]) -> KeyRing:
    root = AccessKey(algorithm=algorithm, key=secret, state=ACTIVE)
    others = [AccessKey(algorithm=alg, key=key, state=state) for alg, key, state in listed]
    signing = next((key for key in others if key.state == ACTIVE), root)
    keys = (root, *others)
    one_kind = [key for key in keys if (key.jwk is None) == (signing.jwk is None)]
    return KeyRing(keys, signing, {key.kid: key for key in one_kind})


class NewKey(NamedTuple):
    """A key that is not in the settings yet; `text` is a secret, or a private key as PEM."""

    kid: str
    algorithm: str
    text: str

    def __repr__(self) -> str:
        return f"<NewKey {self.kid} {self.algorithm}>"


def generate_key(algorithm: str) -> NewKey:
    """Return a new key for an algorithm.

    Raises:
        UnusableKeyError: the algorithm is asymmetric, and `cryptography` is not installed.
    """
    if algorithm in HMAC_ALGORITHMS:
        secret = secrets.token_urlsafe(64)
        return NewKey(key_id("access token", secret), algorithm, secret)
    pem = new_pem(algorithm)
    return NewKey(load_key(pem, algorithm).kid, algorithm, pem)
