"""The plans that `authkit_keys` prints: which settings to change, in which order, and how long to wait in between.

A verify-only key is used for verification, whether it is the former or the next key. Each plan first gives the new key
to every worker, and only then lets a worker sign with it. So no worker ever refuses a token that another has issued.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from ninja_auth_kit import features
from ninja_auth_kit.conf import DEFAULTS, root_secret_name, settings
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS, spoken
from ninja_auth_kit.tokens import ACTIVE, VERIFY_ONLY, AccessKey, KeyRing, NewKey

# How long a service may cache the keys that it has fetched. Most libraries cache them for 1 to 60
# minutes (docs/verifying-tokens.md), and proxies in between add the `max-age` of the response.
JWKS_CACHE = timedelta(hours=1)

_UNCHANGED = "<unchanged>"
_REWRAP = (
    "Run `manage.py authkit_keys rewrap`. It seals authenticator apps, passkeys and identities at providers again "
    "under the new secret, and counts what still depends on the former one. Recovery codes that were made under it, "
    "and API keys that were not used since, are refused once it is removed. Keep it listed as verify-only as long as "
    "too many remain, or ask the users to renew them."
)


def entry(kid: str, algorithm: str, state: str, key: str = _UNCHANGED) -> str:
    """Return one line of SIGNING_KEYS as in a settings file.

    Args:
        kid: the key id.
        algorithm: the algorithm of the key.
        state: "active" or "verify-only".
        key: a Python expression, never a key.
    """
    return f'{{"kid": "{kid}", "alg": "{algorithm}", "key": {key}, "state": "{state}"}},'


def variable(new: NewKey) -> str:
    """Return an expression that reads a new key from an environment variable that no other key uses."""
    if new.algorithm in HMAC_ALGORITHMS:
        return 'os.environ["JWT_SECRET_KEY_NEXT"]'
    return f'os.environ["SIGNING_KEY_{re.sub("[^A-Z0-9]", "", new.kid.upper())[:8]}"]'


def signing_keys(*entries: str) -> str:
    """Return the lines of a settings file that set SIGNING_KEYS."""
    lines = ["NINJA_AUTH_KIT = {", "    ...,", '    "SIGNING_KEYS": [', *(f"        {line}" for line in entries)]
    return "\n".join([*lines, "    ],", "}"])


def present_entries(ring: KeyRing) -> list[str]:
    """Return the current lines of SIGNING_KEYS."""
    return [entry(key.kid, key.algorithm, key.state) for key in _listed(ring)]


def without(ring: KeyRing, key: AccessKey) -> KeyRing:
    """Return the key ring without one of its keys, as it was before that key was listed."""
    return replace(ring, keys=tuple(other for other in ring.keys if other is not key))


def plan(new: NewKey, ring: KeyRing) -> list[str]:
    """Return the steps of a rotation to a new key.

    Args:
        new: the new key. A secret replaces `JWT_SECRET_KEY`. A private key becomes the active key of `SIGNING_KEYS`.
        ring: the current keys.
    """
    if new.algorithm in HMAC_ALGORITHMS:
        return _plan_for_secret(new, ring)
    if ring.signing.jwk is None:
        return _plan_for_first_key_pair(new, ring)
    return _plan_for_key_pair(new, ring)


def emergency(new: NewKey, ring: KeyRing) -> str:
    """Return what to do if the key that is replaced was compromised. The keys then must not overlap."""
    root = root_secret_name()
    if new.algorithm in HMAC_ALGORITHMS:
        return (
            f"If {root} was compromised, do not wait, and do not list it in SIGNING_KEYS. Set {root} "
            "to the new secret on every worker at once. From then on, all sessions, access tokens, refresh tokens and "
            "emailed links of the former secret are refused, and all users must log in again. Then run "
            "`manage.py authkit_revoke --everyone --reason key_compromised`, so that the sessions are ended in the "
            "database and in the audit stream too."
        )
    if ring.signing.jwk is None:
        rotate = f"`manage.py authkit_keys rotate --alg {ring.signing.algorithm}`"
        return f"If {root} was compromised, this key does not help. See the end of {rotate}."
    return (
        "If the current signing key was compromised, do not wait. Make the new key active on every worker at once, "
        "and remove the current one. From then on, access tokens of the removed key are refused, and each client "
        "refreshes once. If a proxy or a CDN stores the JWKS, purge it there. Restart the services that verify by the "
        "JWKS: they hold the set that they have fetched, and until they fetch it again, they accept tokens that the "
        "attacker signs. If session ids may have leaked too, run "
        "`manage.py authkit_revoke --everyone --reason key_compromised`."
    )


def _plan_for_key_pair(new: NewKey, ring: KeyRing) -> list[str]:
    current = ring.signing
    before = present_entries(ring)
    demoted = [entry(key.kid, key.algorithm, VERIFY_ONLY) for key in _listed(ring)]
    rest = [entry(key.kid, key.algorithm, key.state) for key in _listed(ring) if key is not current]
    active = entry(new.kid, new.algorithm, ACTIVE, variable(new))
    return [
        _publish(new, before),
        _wait_for_services("and the services have fetched the new key"),
        "Let the new key sign, and the former key only verify. Deploy this to every worker:\n\n"
        + signing_keys(*demoted, active),
        (
            f"Wait {spoken(settings.ACCESS_TOKEN_LIFETIME)} (ACCESS_TOKEN_LIFETIME) from when the last worker has "
            "these settings. Then the last access token of the former key has expired."
        ),
        "Remove the former key:\n\n" + signing_keys(*rest, active),
    ]


def _plan_for_first_key_pair(new: NewKey, ring: KeyRing) -> list[str]:
    before = present_entries(ring)
    return [
        _publish(new, before),
        _wait_for_services("and the other services are set up to verify with it (docs/verifying-tokens.md)"),
        "Let the key sign: stop all workers, then start them with these settings. A worker with these settings and "
        "one without refuse each other's access tokens. If both run at the same time, clients refresh again and "
        f"again. Do not change {root_secret_name()}: sessions, refresh tokens and emailed links depend on it. Access "
        "tokens that it has signed are refused from now on, so each client refreshes once. No user is logged out"
        f"{_and_issuer()}:\n\n" + signing_keys(*before, entry(new.kid, new.algorithm, ACTIVE, variable(new))),
    ]


def _and_issuer() -> str:
    """Return what else to set while tokens are refused in any case, if the issuer is not a URL."""
    configured: str = settings.ISSUER
    if configured != DEFAULTS["ISSUER"]:
        return ""
    return (
        ". In the same step, set ISSUER to the URL that the kit is mounted at, because many verifiers look for the "
        "keys at ISSUER/.well-known/jwks.json"
    )


def _plan_for_secret(new: NewKey, ring: KeyRing) -> list[str]:
    former = ring.keys[0]
    listed = present_entries(ring)
    and_algorithm = f' and "JWT_ALGORITHM" to "{new.algorithm}"' if new.algorithm != former.algorithm else ""
    kept = entry(former.kid, former.algorithm, VERIFY_ONLY, 'os.environ["JWT_SECRET_KEY_FORMER"]')
    return [
        "List the new secret as verify-only, and deploy this to every worker. Nothing is signed with it yet. (Skip "
        "this step if all workers restart at the same time.)\n\n"
        + signing_keys(*listed, entry(new.kid, new.algorithm, VERIFY_ONLY, variable(new))),
        f"When every worker has these settings, swap the secrets: set {root_secret_name()} to the new secret"
        f"{and_algorithm}, list the former secret as verify-only in its place, and deploy this to every worker. No "
        "user is logged out: each session moves to the new secret with its next refresh. Pseudonyms in audit events "
        "differ from now on.\n\n" + signing_keys(*listed, kept),
        (
            f"Wait {spoken(_longest_lifetime())} from when the last worker has these settings. By then each session "
            "has been refreshed or has expired, and every emailed link has expired. (This is the longest of "
            "REFRESH_TOKEN_LIFETIME, EMAIL_VERIFICATION_LIFETIME and PASSWORD_RESET_LIFETIME.)"
        ),
        *([_REWRAP] if features.can_rewrap() else []),
        "Remove the former secret"
        + (":\n\n" + signing_keys(*listed) if listed else '. "SIGNING_KEYS" is no longer needed.'),
    ]


def _publish(new: NewKey, before: list[str]) -> str:
    return (
        "List the new key as verify-only, and deploy this to every worker. The key is in the JWKS from now on, but "
        "does not sign yet:\n\n" + signing_keys(*before, entry(new.kid, new.algorithm, VERIFY_ONLY, variable(new)))
    )


def _wait_for_services(until: str) -> str:
    return (
        f"Wait until every worker has these settings {until}: {spoken(JWKS_CACHE)}, or longer if a service caches the "
        "JWKS for longer."
    )


def _listed(ring: KeyRing) -> Iterator[AccessKey]:
    """Iterate over the keys of SIGNING_KEYS. The first key of the ring is JWT_SECRET_KEY."""
    yield from ring.keys[1:]


def _longest_lifetime() -> timedelta:
    """Return the longest lifetime of what depends on the former secret and is not renewed under the new one."""
    session: timedelta = min(settings.REFRESH_TOKEN_LIFETIME, settings.SESSION_LIFETIME)
    longest: timedelta = max(
        session,
        settings.ACCESS_TOKEN_LIFETIME,
        settings.EMAIL_VERIFICATION_LIFETIME,
        settings.PASSWORD_RESET_LIFETIME,
    )
    return longest
