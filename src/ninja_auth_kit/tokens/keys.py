"""The keys: one root secret, and one derived key per use, so that no use can stand in for another."""

import hashlib
import hmac
from functools import lru_cache

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from ninja_auth_kit.conf import settings

# RFC 7518 section 3.2: a key for HMAC is at least as long as the hash, in bytes.
ALGORITHMS = {"HS256": 32, "HS384": 48, "HS512": 64}

# Keys that everybody can read, and that nothing else here would refuse. A published key is not a secret.
PUBLISHED_KEYS = frozenset(
    {
        "change-me-to-a-long-random-value-of-your-own-please",  # the README
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial on OAuth2 with JWT
        "a-string-secret-at-least-256-bits-long",  # jwt.io
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
    }
)

KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'


def derive_key(label: str) -> bytes:
    """Derive the 32-byte key for one use from the root secret, by HKDF-SHA256 (RFC 5869)."""
    return _derive_key(settings.JWT_SECRET_KEY, label)


def key_id(label: str) -> str:
    """Name a derived key in 8 hexadecimal digits, without telling anything about it."""
    return _derive_key(settings.JWT_SECRET_KEY, f"id of {label}")[:4].hex()


@lru_cache(maxsize=64)
def _derive_key(secret: str, label: str) -> bytes:
    extracted = hmac.digest(b"ninja_auth_kit", secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, label.encode() + b"\x01", hashlib.sha256)


_NEW_KEY = (
    f"Whoever knows or guesses this key can log in as anybody. Make a good one:\n\n"
    f"    {KEY_COMMAND}\n\n"
    f"and put it into the setting JWT_SECRET_KEY, from the environment or a secret store, not from the code."
)


def refuse_weak_key() -> None:
    """Raise unless `JWT_SECRET_KEY` is strong enough to sign with (RFC 8725 section 3.5; ASVS 11.2.3).

    Raises:
        ImproperlyConfigured: what is wrong, and what to do about it.
    """
    found = _fault(getattr(django_settings, "JWT_SECRET_KEY", None), settings.JWT_ALGORITHM)
    if found is not None:
        fault, remedy = found
        raise ImproperlyConfigured(f"ninja_auth_kit refuses to start: {fault}\n\n{remedy}")


def _fault(key: object, algorithm: object) -> tuple[str, str] | None:
    """Return what is wrong and what helps, or None."""
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        remedy = "Choose one for NINJA_AUTH_KIT['JWT_ALGORITHM'], or leave it out: HS256 is a good one."
        return f"JWT_ALGORITHM must be one of {', '.join(ALGORITHMS)}.", remedy
    if key is None or key == "":
        return "the setting JWT_SECRET_KEY is missing or empty.", _NEW_KEY
    if not isinstance(key, str):
        remedy = "Give the setting the key as text: decode it where you read it."
        return f"JWT_SECRET_KEY must be a string, not {type(key).__name__}.", remedy
    weakness = _weakness(key, algorithm)
    return None if weakness is None else (weakness, _NEW_KEY)


def _weakness(key: str, algorithm: str) -> str | None:
    length, minimum = len(key.encode()), ALGORITHMS[algorithm]
    if length < minimum:
        return f"JWT_SECRET_KEY has {length} bytes; {algorithm} needs at least {minimum}."
    if len(set(key)) < 10:
        return "JWT_SECRET_KEY repeats a few characters."
    if key.startswith("django-insecure-"):
        return "JWT_SECRET_KEY is a generated development key (django-insecure-...)."
    if key in {django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS}:
        return "JWT_SECRET_KEY is the same as SECRET_KEY; a leak of one must not be a leak of both."
    if key in PUBLISHED_KEYS:
        return "JWT_SECRET_KEY is an example from documentation that everybody can read."
    return None
