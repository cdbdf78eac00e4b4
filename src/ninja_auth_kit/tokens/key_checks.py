"""The checks of `JWT_SECRET_KEY` and `SIGNING_KEYS` that stop a process from starting.

They reject keys that are missing, weak or published, and entries that contradict one another (RFC
8725 section 3.5; ASVS 11.2.3).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from ninja_auth_kit.conf import root_secret_name, settings
from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS, HMAC_ALGORITHMS
from ninja_auth_kit.tokens.asymmetric import KeyPair, UnusableKeyError, load_key
from ninja_auth_kit.tokens.digests import KEY_COMMAND, key_id
from ninja_auth_kit.tokens.key_strength import (
    CHARACTERS,
    MINIMUM_BITS,
    REPETITION,
    SEQUENCE,
    WORDS,
    estimate,
)
from ninja_auth_kit.tokens.keyring import ACTIVE, VERIFY_ONLY

# Keys that anyone can read, and that no other check rejects.
PUBLISHED_KEYS = frozenset(
    {
        "change-me-to-a-long-random-value-of-your-own-please",  # a former README of this package
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial on OAuth2 with JWT
        "a-string-secret-at-least-256-bits-long",  # jwt.io
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",  # jwt.io
        # RFC 7515, appendix A.1, and RFC 7520, section 3.5
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's documentation
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",  # tutorials on Spring Security
    }
)

_MINIMUM_CHARACTERS = 10  # that are different

_WEAKNESSES = {
    WORDS: "is made of words, like a placeholder; others can guess it.",
    REPETITION: "repeats a part of itself; others can guess it.",
    SEQUENCE: "follows a sequence, such as the alphabet or a row of the keyboard; others can guess it.",
    CHARACTERS: "has too few different characters for its length; others can guess it.",
}

_GENERATE_SECRET = (
    "Anyone who knows or guesses this key can log in as any user. Generate a strong key:\n\n"
    f"    {KEY_COMMAND}\n\n"
    "and set {name} to it. Read it from the environment or from a secret store; do not write it into the code."
)
_REMOVE_ENTRY = "Remove the entry: with such a key tokens can be forged, even if the key only verifies."
_ENTRY_FORMAT = (
    'Each entry is {"alg": ..., "key": ..., "state": "active" or "verify-only"} and may have a "kid". '
    "`manage.py authkit_keys generate` prints an entry to paste; run it without SIGNING_KEYS first."
)
_ENCODE_AS_TEXT = (
    "Raw bytes in an environment variable become characters that cannot be encoded. Keep the key as text, such as "
    f"base64 or hexadecimal. This command generates a key that is text:\n\n    {KEY_COMMAND}"
)


class Fault(NamedTuple):
    """What is wrong with a setting, and how to fix it. Neither text shows a key."""

    problem: str
    fix: str


def check_keys() -> None:
    """Check that `JWT_SECRET_KEY` and `SIGNING_KEYS` are strong and fit together.

    Raises:
        ImproperlyConfigured: they are not; the text says what is wrong and how to fix it.
    """
    # The functions below return a fault instead of raising it, because error trackers send the
    # local variables of every frame of a traceback, and theirs are keys.
    fault = _find_fault()
    if fault is not None:
        raise ImproperlyConfigured(f"ninja_auth_kit refuses to start: {fault.problem}\n\n{fault.fix}")


def _find_fault() -> Fault | None:
    secret: object = getattr(settings, "JWT_SECRET_KEY", None)
    return _fault_of_root_secret(secret, settings.JWT_ALGORITHM) or _fault_of_signing_keys(
        secret, settings.SIGNING_KEYS
    )


def _fault_of_root_secret(key: object, algorithm: object) -> Fault | None:
    if not isinstance(algorithm, str) or algorithm not in HMAC_ALGORITHMS:
        return Fault(
            f"JWT_ALGORITHM must be one of {', '.join(HMAC_ALGORITHMS)}.",
            "Choose one for NINJA_AUTH_KIT['JWT_ALGORITHM'], or remove it to use HS256. "
            f"Keys for {', '.join(ASYMMETRIC_ALGORITHMS)} belong in NINJA_AUTH_KIT['SIGNING_KEYS'].",
        )
    name = root_secret_name()
    generate = _GENERATE_SECRET.format(name=name)
    if key is None or key == "":
        return Fault(f"the setting {name} is missing or empty.", generate)
    if not isinstance(key, str):
        return Fault(
            f"{name} must be a string, not {type(key).__name__}.",
            "Set it to text: decode it where your settings read it.",
        )
    if _has_raw_bytes(key):
        return Fault(f"{name} contains bytes that are not UTF-8.", _ENCODE_AS_TEXT)
    weakness = _weakness(key, algorithm)
    return None if weakness is None else Fault(f"{name} {weakness}", generate)


def _has_raw_bytes(key: str) -> bool:
    """Return whether a key has the lone surrogates that `os.environ` makes from non-UTF-8 bytes."""
    return any("\ud800" <= letter <= "\udfff" for letter in key)


def _weakness(key: str, algorithm: str) -> str | None:
    """Return why a secret is weak, in words that follow its name, or None."""
    length, minimum = len(key.encode()), HMAC_ALGORITHMS[algorithm]
    if length < minimum:
        return f"has {length} bytes; {algorithm} needs at least {minimum}."
    if len(set(key)) < _MINIMUM_CHARACTERS:
        return f"repeats a few characters; it must have at least {_MINIMUM_CHARACTERS} different ones."
    if key.startswith("django-insecure-"):
        return "is a development key that Django has generated (django-insecure-...)."
    if key in {django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS}:
        return "is the same as SECRET_KEY or one of SECRET_KEY_FALLBACKS; a leak of one must not be a leak of both."
    if key in PUBLISHED_KEYS:
        return "is an example from documentation that everybody can read."
    if _is_asymmetric(key):
        return f"is an asymmetric key, a certificate or a JWK; {algorithm} needs a secret."
    bits, kind = estimate(key)
    return _WEAKNESSES[kind] if bits < MINIMUM_BITS else None


def _is_asymmetric(key: str) -> bool:
    """Return whether a secret is really an asymmetric key, which may be public (CVE-2017-11424).

    PyJWT decides, but is imported only for a secret that could be one: PEM has spaces, a JWK has quotation marks, DER
    has control characters, and an OpenSSH key begins with its type.
    """
    is_plain = key.isascii() and key.isprintable() and not any(sign in key for sign in (" ", '"', "ssh", "ecdsa"))
    if is_plain:
        return False
    from ninja_auth_kit.tokens.signatures import is_key_of_another_kind

    return is_key_of_another_kind(key)


def _fault_of_signing_keys(secret: Any, listed: object) -> Fault | None:
    if listed is None:
        return None
    if not isinstance(listed, list | tuple):
        return Fault("SIGNING_KEYS must be a list of dicts, or None.", _ENTRY_FORMAT)
    for name, entry in _named(listed):
        fault = _fault_of_entry(name, entry)
        if fault is not None:
            return fault
    return _fault_between_keys(secret, listed)


def _named(listed: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for index, entry in enumerate(listed):
        yield f"SIGNING_KEYS[{index}]", entry


def _fault_of_entry(name: str, entry: Any) -> Fault | None:
    required, optional = {"alg", "key", "state"}, {"kid"}
    if not isinstance(entry, dict) or not required <= set(entry) <= required | optional:
        return Fault(
            f"{name} must be a dict with 'alg', 'key', 'state', an optional 'kid' and nothing else.", _ENTRY_FORMAT
        )
    algorithms = (*HMAC_ALGORITHMS, *ASYMMETRIC_ALGORITHMS)
    if entry["alg"] not in algorithms:
        return Fault(f"{name}['alg'] must be one of {', '.join(algorithms)}.", _ENTRY_FORMAT)
    if entry["state"] not in (ACTIVE, VERIFY_ONLY):
        return Fault(f"{name}['state'] must be 'active' or 'verify-only'.", _ENTRY_FORMAT)
    if not isinstance(entry["key"], str):
        return Fault(
            f"{name}['key'] must be a string, not {type(entry['key']).__name__}.",
            "Decode it where your settings read it.",
        )
    fault_of_key = _fault_of_secret if entry["alg"] in HMAC_ALGORITHMS else _fault_of_pair
    return fault_of_key(name, entry) or _fault_of_kid(name, entry)


def _fault_of_secret(name: str, entry: dict[str, str]) -> Fault | None:
    if _has_raw_bytes(entry["key"]):
        return Fault(f"{name}['key'] contains bytes that are not UTF-8.", _ENCODE_AS_TEXT)
    weakness = _weakness(entry["key"], entry["alg"])
    if weakness is not None:
        return Fault(f"{name}['key'] {weakness}", _REMOVE_ENTRY)
    if entry["state"] == ACTIVE:
        return Fault(
            f"{name} is active, but the active secret is always {root_secret_name()}.",
            f"Change the state to 'verify-only', or put the secret into {root_secret_name()} and list the former one "
            "here.",
        )
    return None


def _fault_of_pair(name: str, entry: dict[str, str]) -> Fault | None:
    try:
        pair: KeyPair = load_key(entry["key"], entry["alg"])
    except UnusableKeyError as error:
        return Fault(f"{name}['key'] {error.fault}", error.remedy)
    if entry["state"] == ACTIVE and pair.private is None:
        return Fault(
            f"{name} is active, but has only the public key.",
            "Give the private key, or change the state to 'verify-only'.",
        )
    return None


def _fault_of_kid(name: str, entry: dict[str, str]) -> Fault | None:
    kid = _kid(entry)
    if entry.get("kid", kid) == kid:
        return None
    return Fault(f"{name}['kid'] is not the key ID of this key.", f"Remove 'kid', or write {kid!r}.")


def _kid(entry: dict[str, str]) -> str:
    """Return the `kid` of a key. It is derived from the key, so it cannot name another key."""
    if entry["alg"] in HMAC_ALGORITHMS:
        return key_id("access token", entry["key"])
    return load_key(entry["key"], entry["alg"]).kid


def _fault_between_keys(secret: str, listed: Sequence[dict[str, str]]) -> Fault | None:
    active = [name for name, entry in _named(listed) if entry["state"] == ACTIVE]
    if len(active) > 1:
        return Fault(
            f"{' and '.join(active)} are active, but only one key can sign.",
            "Change the state of all but one to 'verify-only'.",
        )
    seen = {key_id("access token", secret): root_secret_name()}
    for name, entry in _named(listed):
        other = seen.setdefault(_kid(entry), name)
        if other != name:
            return Fault(
                f"{name} and {other} are the same key.",
                "Remove the entry: a key can have only one state and one algorithm.",
            )
    return None
