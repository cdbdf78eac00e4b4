"""What keeps a process from starting: keys that are missing, weak, published, or do not fit together."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError

from ninja_auth_kit.conf import settings
from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS, HMAC_ALGORITHMS
from ninja_auth_kit.tokens.asymmetric import KeyPair, UnusableKeyError, load_key
from ninja_auth_kit.tokens.keyring import ACTIVE, VERIFY_ONLY
from ninja_auth_kit.tokens.root_secrets import KEY_COMMAND, key_id

# Keys that everybody can read, and that nothing else here would refuse. A published key is not a secret.
PUBLISHED_KEYS = frozenset(
    {
        "change-me-to-a-long-random-value-of-your-own-please",  # a former README of this package
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial on OAuth2 with JWT
        "a-string-secret-at-least-256-bits-long",  # jwt.io
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
    }
)

Fault = tuple[str, str]
"""What is wrong, and what helps. Neither shows a key."""

_NEW_KEY = (
    f"Whoever knows or guesses this key can log in as anybody. Make a good one:\n\n"
    f"    {KEY_COMMAND}\n\n"
    f"and put it into the setting JWT_SECRET_KEY, from the environment or a secret store, not from the code."
)
_REMOVE = "Remove the entry: with such a key tokens can be forged, also while it only verifies."
_LIST = (
    'It is a list of {"alg": ..., "key": ..., "state": "active" or "verify-only"}, each with "kid" if you like; '
    "`manage.py authkit_keys generate` prints an entry to paste (start with SIGNING_KEYS left out)."
)


_ENCODE = (
    "Keep the key as text where your settings read it, such as base64 or hexadecimal: of raw bytes the environment "
    f"makes characters that cannot be encoded. This makes one that is text:\n\n    {KEY_COMMAND}"
)


def check_keys() -> None:
    """Raise unless `JWT_SECRET_KEY` and `SIGNING_KEYS` are strong and go together (RFC 8725 section 3.5; ASVS 11.2.3).

    Raises:
        ImproperlyConfigured: what is wrong, and what to do about it.
    """
    secret: object = getattr(django_settings, "JWT_SECRET_KEY", None)
    found = _fault_of_root(secret, settings.JWT_ALGORITHM) or _fault_of_list(secret, settings.SIGNING_KEYS)
    if found is not None:
        fault, remedy = found
        raise ImproperlyConfigured(f"ninja_auth_kit refuses to start: {fault}\n\n{remedy}")


def _fault_of_root(key: object, algorithm: object) -> Fault | None:
    if not isinstance(algorithm, str) or algorithm not in HMAC_ALGORITHMS:
        remedy = (
            "Choose one for NINJA_AUTH_KIT['JWT_ALGORITHM'], or leave it out: HS256 is a good one. "
            f"Keys for {', '.join(ASYMMETRIC_ALGORITHMS)} go into NINJA_AUTH_KIT['SIGNING_KEYS']."
        )
        return f"JWT_ALGORITHM must be one of {', '.join(HMAC_ALGORITHMS)}.", remedy
    if key is None or key == "":
        return "the setting JWT_SECRET_KEY is missing or empty.", _NEW_KEY
    if not isinstance(key, str):
        remedy = "Give the setting the key as text: decode it where you read it."
        return f"JWT_SECRET_KEY must be a string, not {type(key).__name__}.", remedy
    if _has_raw_bytes(key):
        return "JWT_SECRET_KEY has bytes in it that are no UTF-8.", _ENCODE
    weakness = _weakness("JWT_SECRET_KEY", key, algorithm)
    return None if weakness is None else (weakness, _NEW_KEY)


def _has_raw_bytes(key: str) -> bool:
    """Tell whether a key has the lone surrogates that `os.environ` makes of bytes that are no UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in key)


def _weakness(name: str, key: str, algorithm: str) -> str | None:
    length, minimum = len(key.encode()), HMAC_ALGORITHMS[algorithm]
    if length < minimum:
        return f"{name} has {length} bytes; {algorithm} needs at least {minimum}."
    if len(set(key)) < 10:
        return f"{name} repeats a few characters."
    if key.startswith("django-insecure-"):
        return f"{name} is a generated development key (django-insecure-...)."
    if key in {django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS}:
        return f"{name} is the same as SECRET_KEY; a leak of one must not be a leak of both."
    if key in PUBLISHED_KEYS:
        return f"{name} is an example from documentation that everybody can read."
    if _is_asymmetric(key):
        return f"{name} is an asymmetric key, a certificate or a JWK, and {algorithm} needs a secret."
    return None


def _is_asymmetric(key: str) -> bool:
    """Tell whether a secret is none, but a key that may be public (CVE-2017-11424)."""
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(key)
    except InvalidKeyError:
        return True
    return False


def _fault_of_list(secret: Any, listed: object) -> Fault | None:
    if listed is None:
        return None
    if not isinstance(listed, list | tuple):
        return "SIGNING_KEYS must be a list of dicts, or None.", _LIST
    for index, entry in enumerate(listed):
        fault = _fault_of_entry(f"SIGNING_KEYS[{index}]", entry)
        if fault is not None:
            return fault
    return _fault_of_all(secret, listed)


def _fault_of_entry(name: str, entry: Any) -> Fault | None:
    required, optional = {"alg", "key", "state"}, {"kid"}
    if not isinstance(entry, dict) or not required <= set(entry) <= required | optional:
        return f"{name} must be a dict with 'alg', 'key', 'state' and, if you like, 'kid', and nothing else.", _LIST
    if entry["alg"] not in (*HMAC_ALGORITHMS, *ASYMMETRIC_ALGORITHMS):
        return f"{name}['alg'] must be one of {', '.join((*HMAC_ALGORITHMS, *ASYMMETRIC_ALGORITHMS))}.", _LIST
    if entry["state"] not in (ACTIVE, VERIFY_ONLY):
        return f"{name}['state'] must be 'active' or 'verify-only'.", _LIST
    if not isinstance(entry["key"], str):
        return f"{name}['key'] must be a string, not {type(entry['key']).__name__}.", "Decode it where you read it."
    check = _fault_of_secret if entry["alg"] in HMAC_ALGORITHMS else _fault_of_pair
    return check(name, entry) or _fault_of_kid(name, entry)


def _fault_of_secret(name: str, entry: dict[str, str]) -> Fault | None:
    if _has_raw_bytes(entry["key"]):
        return f"{name}['key'] has bytes in it that are no UTF-8.", _ENCODE
    weakness = _weakness(f"{name}['key']", entry["key"], entry["alg"])
    if weakness is not None:
        return weakness, _REMOVE
    if entry["state"] == ACTIVE:
        remedy = "Make it 'verify-only', or put the secret into JWT_SECRET_KEY and the former one here."
        return f"{name} is active, and the active secret is always JWT_SECRET_KEY.", remedy
    return None


def _fault_of_pair(name: str, entry: dict[str, str]) -> Fault | None:
    try:
        pair: KeyPair = load_key(entry["key"], entry["alg"])
    except UnusableKeyError as found:
        return f"{name}['key'] {found.fault}", found.remedy
    if entry["state"] == ACTIVE and pair.private is None:
        return f"{name} is active and has the public key alone.", "Give the private key, or make it 'verify-only'."
    return None


def _fault_of_kid(name: str, entry: dict[str, str]) -> Fault | None:
    kid = _kid(entry)
    if entry.get("kid", kid) == kid:
        return None
    return f"{name}['kid'] is not the name of this key.", f"Leave 'kid' out, or write {kid!r}."


def _kid(entry: dict[str, str]) -> str:
    """Return the `kid` that tokens of this key carry: derived from the key, so that it can name no other."""
    if entry["alg"] in HMAC_ALGORITHMS:
        return key_id("access token", entry["key"])
    return load_key(entry["key"], entry["alg"]).kid


def _fault_of_all(secret: str, listed: Sequence[dict[str, str]]) -> Fault | None:
    active = [name for name, entry in _named(listed) if entry["state"] == ACTIVE]
    if len(active) > 1:
        return f"{' and '.join(active)} are active, and one key signs.", "Make all but one 'verify-only'."
    seen = {key_id("access token", secret): "JWT_SECRET_KEY"}
    for name, entry in _named(listed):
        other = seen.setdefault(_kid(entry), name)
        if other != name:
            return f"{name} and {other} are one key.", "Remove the entry: a key has one state and one algorithm."
    return None


def _named(listed: Sequence[dict[str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
    for index, entry in enumerate(listed):
        yield f"SIGNING_KEYS[{index}]", entry
