"""What `authkit_keys` says about changing keys: which settings, in which order, and how long to wait in between.

A verify-only key verifies whether it is the former or the next one. So each plan first tells every worker about the
new key and only then lets one sign with it: at no time does a worker refuse what another has issued.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from ninja_auth_kit.conf import settings
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS, spoken
from ninja_auth_kit.tokens import ACTIVE, VERIFY_ONLY, AccessKey, KeyRing, NewKey

# How long a service may keep the keys it has fetched. Libraries keep them for 5 to 15 minutes; proxies add theirs.
JWKS_CACHE = timedelta(hours=1)

_AS_IT_IS = "<as it is>"


def entry(kid: str, algorithm: str, state: str, key: str = _AS_IT_IS) -> str:
    """Return one line of SIGNING_KEYS as it stands in a settings file; `key` is an expression, never a key."""
    return f'{{"kid": "{kid}", "alg": "{algorithm}", "key": {key}, "state": "{state}"}},'


def variable(new: NewKey) -> str:
    """Return an expression that reads a new key from the environment, under a name that no other key has."""
    if new.algorithm in HMAC_ALGORITHMS:
        return 'os.environ["JWT_SECRET_KEY_NEXT"]'
    return f'os.environ["SIGNING_KEY_{re.sub("[^A-Z0-9]", "", new.kid.upper())[:8]}"]'


def signing_keys(*entries: str) -> str:
    """Return the lines that set SIGNING_KEYS."""
    lines = ["NINJA_AUTH_KIT = {", "    ...,", '    "SIGNING_KEYS": [', *(f"        {one}" for one in entries)]
    return "\n".join([*lines, "    ],", "}"])


def present_entries(ring: KeyRing) -> list[str]:
    """Return the lines of SIGNING_KEYS as they are."""
    return [entry(key.kid, key.algorithm, key.state) for key in _listed(ring)]


def without(ring: KeyRing, key: AccessKey) -> KeyRing:
    """Return the keys as they were before this one was listed."""
    return replace(ring, keys=tuple(one for one in ring.keys if one is not key))


def plan(new: NewKey, ring: KeyRing) -> list[str]:
    """Return the steps of a rotation to a new key.

    Args:
        new: the key. A secret replaces `JWT_SECRET_KEY`; any other becomes the active one of `SIGNING_KEYS`.
        ring: the keys as they are.
    """
    if new.algorithm in HMAC_ALGORITHMS:
        return _plan_of_secret(new, ring)
    if ring.signing.jwk is None:
        return _plan_of_first_pair(new, ring)
    return _plan_of_pair(new, ring)


def emergency(new: NewKey, ring: KeyRing) -> str:
    """Return what to do where somebody else has the key that the new one follows: no overlap then."""
    if new.algorithm in HMAC_ALGORITHMS:
        return (
            "If somebody else has JWT_SECRET_KEY: do not wait, and do not list it. Put the new secret into "
            "JWT_SECRET_KEY on every worker at once. Every session, access and refresh token and mailed link of the "
            "former one is refused from then on, and everybody logs in again. Then run "
            "`manage.py authkit_revoke --everyone --reason key_compromised`, so that the sessions end in the database "
            "and in the audit trail too."
        )
    if ring.signing.jwk is None:
        rotate = f"`manage.py authkit_keys rotate --alg {ring.signing.algorithm}`"
        return f"If somebody else has JWT_SECRET_KEY, this key does not help; see the end of {rotate}."
    return (
        "If somebody else has the present signing key: do not wait. Make the new key active on every worker at once "
        "and remove the present one. Its access tokens are refused from then on, and each client refreshes once. "
        "Restart the services that verify by the JWKS: until they fetch it again they trust what the thief signs. If "
        "session ids may have leaked as well, run `manage.py authkit_revoke --everyone --reason key_compromised`."
    )


def _plan_of_pair(new: NewKey, ring: KeyRing) -> list[str]:
    present = ring.signing
    before = present_entries(ring)
    demoted = [entry(key.kid, key.algorithm, VERIFY_ONLY) for key in _listed(ring)]
    rest = [entry(key.kid, key.algorithm, key.state) for key in _listed(ring) if key is not present]
    active = entry(new.kid, new.algorithm, ACTIVE, variable(new))
    return [
        _publish(new, before),
        _wait_for_services("and the services have fetched the new key"),
        "Let the new key sign, and the former only verify; roll it out to every worker:\n\n"
        + signing_keys(*demoted, active),
        (
            f"Wait {spoken(settings.ACCESS_TOKEN_LIFETIME)} (ACCESS_TOKEN_LIFETIME) from when the last worker has "
            "it. Then the last access token of the former key has expired."
        ),
        "Remove the former key:\n\n" + signing_keys(*rest, active),
    ]


def _plan_of_first_pair(new: NewKey, ring: KeyRing) -> list[str]:
    before = present_entries(ring)
    return [
        _publish(new, before),
        _wait_for_services("and the other services are set up to verify by it (docs/verifying-tokens.md)"),
        "Let it sign: stop all workers, then start them with it. A worker with these settings and one without refuse "
        "each other's access tokens, so where they run side by side clients refresh again and again. JWT_SECRET_KEY "
        "stays as it is: sessions, refresh tokens and mailed links rest on it. Access tokens that it has signed are "
        "refused from now on, so each client refreshes once; nobody is logged out:\n\n"
        + signing_keys(*before, entry(new.kid, new.algorithm, ACTIVE, variable(new))),
    ]


def _plan_of_secret(new: NewKey, ring: KeyRing) -> list[str]:
    former = ring.keys[0]
    listed = present_entries(ring)
    algorithm = f' and "JWT_ALGORITHM" to "{new.algorithm}"' if new.algorithm != former.algorithm else ""
    kept = entry(former.kid, former.algorithm, VERIFY_ONLY, 'os.environ["JWT_SECRET_KEY_FORMER"]')
    return [
        "List the new secret verify-only, and roll it out to every worker. Nothing is signed with it yet. (Skip this "
        "step where all workers restart at once.)\n\n"
        + signing_keys(*listed, entry(new.kid, new.algorithm, VERIFY_ONLY, variable(new))),
        "When every worker has it, swap: set JWT_SECRET_KEY to the new secret" + algorithm + ", list the former one "
        "verify-only in its place, and roll it out. Nobody is logged out: each session moves to the new secret with "
        "its next refresh. Pseudonyms in audit events differ from here on.\n\n" + signing_keys(*listed, kept),
        (
            f"Wait {spoken(_longest_life())} from when the last worker has it. By then each session has refreshed or "
            "expired, and every mailed link is over (REFRESH_TOKEN_LIFETIME, EMAIL_VERIFICATION_LIFETIME, "
            "PASSWORD_RESET_LIFETIME: the longest)."
        ),
        "Remove the former secret" + (":\n\n" + signing_keys(*listed) if listed else ': "SIGNING_KEYS" can go.'),
    ]


def _publish(new: NewKey, before: list[str]) -> str:
    return (
        "List the new key verify-only, and roll it out to every worker. It stands in the JWKS from now on, and signs "
        "nothing yet:\n\n" + signing_keys(*before, entry(new.kid, new.algorithm, VERIFY_ONLY, variable(new)))
    )


def _wait_for_services(until: str) -> str:
    return f"Wait until every worker has it {until}: {spoken(JWKS_CACHE)}, or longer where one keeps the JWKS longer."


def _listed(ring: KeyRing) -> Iterator[AccessKey]:
    """Iterate over the keys of SIGNING_KEYS."""
    yield from ring.keys[1:]


def _longest_life() -> timedelta:
    """Return how long anything can live that was made under the former secret and is not renewed under the new one."""
    session: timedelta = min(settings.REFRESH_TOKEN_LIFETIME, settings.SESSION_LIFETIME)
    longest: timedelta = max(
        session,
        settings.ACCESS_TOKEN_LIFETIME,
        settings.EMAIL_VERIFICATION_LIFETIME,
        settings.PASSWORD_RESET_LIFETIME,
    )
    return longest
