"""PyJWT, which makes and verifies the signatures of access tokens.

Imported with the first key that signs or verifies, because PyJWT imports all of `cryptography` if that is installed.
A worker with a secret starts without both (see "What a worker imports later" in docs/architecture.md).
"""

from functools import lru_cache
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm, get_default_algorithms
from jwt.exceptions import InvalidKeyError

from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS


@lru_cache(maxsize=8)
def jws_of(algorithm: str) -> jwt.PyJWS:
    """Return a PyJWS that supports only one algorithm, not even "none" (RFC 8725 section 3.1)."""
    if algorithm not in HMAC_ALGORITHMS:
        return jwt.PyJWS(algorithms=[algorithm], options={"enforce_minimum_key_length": True})
    hashes = {"HS256": HMACAlgorithm.SHA256, "HS384": HMACAlgorithm.SHA384, "HS512": HMACAlgorithm.SHA512}
    jws = jwt.PyJWS(algorithms=[], options={"enforce_minimum_key_length": True})
    hmac = HMACAlgorithm(hashes[algorithm])
    # Without PyJWT's check of the key on every call: `check_keys` did it at start.
    hmac.prepare_key = bytes  # type: ignore[assignment, method-assign]
    jws.register_algorithm(algorithm, hmac)
    return jws


def public_jwk(public: Any, algorithm: str) -> dict[str, str]:
    """Return a public key as a JWK, with all the members that PyJWT writes."""
    members: dict[str, str] = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return members


def is_key_of_another_kind(secret: str) -> bool:
    """Return whether PyJWT takes a secret for an asymmetric key, a certificate or a JWK."""
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        return True
    return False
