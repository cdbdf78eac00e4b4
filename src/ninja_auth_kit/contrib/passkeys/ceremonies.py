"""The two ceremonies of WebAuthn Level 3, on bytes: register a passkey (section 7.1), and use it (section 7.2).

Only this module imports the library `webauthn`, which takes over half a second. The library accepts more than the kit
does, so the kit compares for itself what the library does not look at. It also catches every exception, because
the library raises many kinds for bytes that it cannot parse.
"""

import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_authenticator_data,
    parse_backup_flags,
    parse_cbor,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import CredentialDeviceType

from ninja_auth_kit.contrib.passkeys.structures import Assertion, Descriptor, NewPasskey, RelyingParty, StoredPasskey
from ninja_auth_kit.strict_json import parse_object

ALGORITHMS = (-8, -7, -257)  # EdDSA, ES256 and RS256 of the IANA registry of COSE, the preferred one first
TIMEOUT = 300_000  # milliseconds, which WebAuthn Level 3 section 15.1 recommends
MAXIMUM_SIZE = 16_384  # characters of a credential as JSON
MAXIMUM_ID = 1023  # bytes of a credential id (section 4)

_TRANSPORT = re.compile(r"[a-z0-9-]{1,32}")
_MAXIMUM_TRANSPORTS = 8
_RSA_SIZES = range(256, 513)  # bytes of a modulus: 2048 to 4096 bits
_RSA_EXPONENT = b"\x01\x00\x01"
# A P-256 key of which the private half was thrown away. An assertion for an unknown passkey is verified with it, so
# that the time of the answer does not show whether the passkey exists.
_UNKNOWN_KEY = bytes.fromhex(
    "a5010203262001"
    "21582026dffea524605b84a58e889d695dc114215527c0beb641f45dd987b4b68a32b4"
    "2258209dae2fe2617b27e5ea0c905ab6b396ce93ff0e6eeb162373f5eb6af85121b85e"
)


class InvalidPasskeyError(Exception):
    """The credential that a client sent is not accepted. Clients get one answer for all reasons."""


class ClonedPasskeyError(InvalidPasskeyError):
    """The assertion is genuine, but its counter did not rise: there may be a copy of the passkey (section 6.1.1)."""


def registration_options(
    party: RelyingParty, *, challenge: bytes, handle: bytes, user_name: str, exclude: Iterable[Descriptor] = ()
) -> dict[str, Any]:
    """Return what `PublicKeyCredential.parseCreationOptionsFromJSON` reads (section 5.4).

    Args:
        challenge: at least 16 bytes that cannot be guessed (section 13.4.3).
        handle: the user handle: random bytes, not a personal value (section 14.6.1).
        user_name: the name that the dialog of the browser shows, such as an email address.
        exclude: the passkeys of the user. An authenticator that has one of them refuses to make another.
    """
    return {
        "rp": {"id": party.id, "name": party.name},
        "user": {"id": bytes_to_base64url(handle), "name": user_name, "displayName": user_name},
        "challenge": bytes_to_base64url(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "timeout": TIMEOUT,
        "excludeCredentials": _described(exclude),
        "authenticatorSelection": {
            "residentKey": "preferred",
            "requireResidentKey": False,
            "userVerification": "preferred",
        },
        "attestation": "none",
        "extensions": {"credProps": True},
    }


def authentication_options(
    party: RelyingParty, *, challenge: bytes, allow: Iterable[Descriptor] | None = None, require_verification: bool
) -> dict[str, Any]:
    """Return what `PublicKeyCredential.parseRequestOptionsFromJSON` reads (section 5.5).

    Args:
        challenge: at least 16 bytes that cannot be guessed.
        allow: the passkeys of a user whose first factor is proved, or None for a login without a name. With None, the
            options are the same for everyone but for the challenge (section 14.6.2).
        require_verification: whether the authenticator must verify the user. If not, that is preferred.
    """
    options: dict[str, Any] = {
        "challenge": bytes_to_base64url(challenge),
        "timeout": TIMEOUT,
        "rpId": party.id,
        "userVerification": "required" if require_verification else "preferred",
    }
    return options if allow is None else {**options, "allowCredentials": _described(allow)}


def _described(passkeys: Iterable[Descriptor]) -> list[dict[str, Any]]:
    return [
        {
            "type": "public-key",
            "id": bytes_to_base64url(passkey.credential_id),
            **({"transports": list(passkey.transports)} if passkey.transports else {}),
        }
        for passkey in passkeys
    ]


def credential_id_of(credential: Any) -> bytes:
    """Return the id of the passkey that a client says it used, to look it up. Nothing is verified yet.

    Raises:
        InvalidPasskeyError: it is not a credential.
    """
    with _every_fault_is_a_refusal():
        return _parsed(credential, ()).credential_id


def verify_registration(credential: Any, *, party: RelyingParty, challenge: bytes) -> NewPasskey:
    """Return the passkey that a browser has made (section 7.1).

    The user must have been present. Whether the authenticator also verified the user is in the result.

    Args:
        credential: what `credential.toJSON()` gave, or anything else that JSON can express.
        challenge: that of the options.

    Raises:
        InvalidPasskeyError: one of the checks failed.
    """
    with _every_fault_is_a_refusal():
        parsed = _parsed(credential, ("clientDataJSON", "attestationObject"))
        _check_client_data(parsed, challenge)
        _check_attestation(base64url_to_bytes(parsed.response["attestationObject"]))
        verified = verify_registration_response(
            credential=parsed.as_json(),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            supported_pub_key_algs=[COSEAlgorithmIdentifier(algorithm) for algorithm in ALGORITHMS],
        )
        _require(verified.credential_id == parsed.credential_id, "The two credential ids differ.")
        _check_public_key(verified.credential_public_key)
        return NewPasskey(
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            backup_eligible=verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
            backed_up=verified.credential_backed_up,
            aaguid=UUID(verified.aaguid),
            transports=_transports(credential["response"].get("transports")),
            is_discoverable=_is_discoverable(credential.get("clientExtensionResults")),
            is_user_verified=verified.user_verified,
        )


def read_registered(authenticator_data: bytes, *, transports: Any, extensions: Any) -> tuple[bytes, NewPasskey]:
    """Return the SHA-256 of the domain of a passkey that another package has registered, and the passkey.

    Nothing is verified: the other package has done that. See `require_offered` for its algorithm.

    Args:
        authenticator_data: as the authenticator has given it (section 6.1).
        transports: what the browser has said, or anything else that JSON can express.
        extensions: likewise.

    Raises:
        InvalidPasskeyError: it cannot be read.
    """
    with _every_fault_is_a_refusal():
        data = parse_authenticator_data(authenticator_data)
        flags, attested = parse_backup_flags(data.flags), data.attested_credential_data
        if attested is None:
            raise InvalidPasskeyError("There is no credential.")
        _require(1 <= len(attested.credential_id) <= MAXIMUM_ID, "The id has a wrong length.")
        return data.rp_id_hash, NewPasskey(
            credential_id=attested.credential_id,
            public_key=attested.credential_public_key,
            sign_count=data.sign_count,
            backup_eligible=flags.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
            backed_up=flags.credential_backed_up,
            aaguid=UUID(bytes=attested.aaguid),
            transports=_transports(transports),
            is_discoverable=_is_discoverable(extensions),
            is_user_verified=data.flags.uv,
        )


def require_offered(public_key: bytes) -> None:
    """Check that the kit offers the algorithm of a key, and can use the key.

    Raises:
        InvalidPasskeyError: it does not.
    """
    with _every_fault_is_a_refusal():
        _check_public_key(public_key)


def verify_assertion(
    credential: Any,
    passkey: StoredPasskey | None,
    *,
    party: RelyingParty,
    challenge: bytes,
    require_verification: bool,
    require_handle: bool,
) -> Assertion:
    """Return what a genuine use of a passkey says (section 7.2).

    It takes the same time whether or not there is such a passkey: the signature is verified before anything that
    depends on its owner.

    Args:
        credential: what `credential.toJSON()` gave, or anything else that JSON can express.
        passkey: the passkey with the id of `credential_id_of`, or None if there is no such passkey.
        challenge: that of the options.
        require_verification: whether the authenticator must have verified the user.
        require_handle: whether the credential must name its user, because no other factor has named one. A user handle
            that it names must be that of the owner in any case.

    Raises:
        ClonedPasskeyError: everything is right but the counter.
        InvalidPasskeyError: one of the checks failed, or there is no such passkey.
    """
    with _every_fault_is_a_refusal():
        parsed = _parsed(credential, ("clientDataJSON", "authenticatorData", "signature"))
        _check_client_data(parsed, challenge)
        verified = verify_authentication_response(
            credential=parsed.as_json(),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            credential_public_key=_UNKNOWN_KEY if passkey is None else passkey.public_key,
            credential_current_sign_count=0,  # compared below: the library raises the same exception for all refusals
            require_user_verification=require_verification,
        )
        if passkey is None or parsed.credential_id != passkey.credential_id:
            raise InvalidPasskeyError("There is no such passkey.")
        _check_handle(credential["response"].get("userHandle"), passkey.handle, is_required=require_handle)
        is_eligible = verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE
        _require(is_eligible == passkey.backup_eligible, "The backup eligibility has changed.")
        if (verified.new_sign_count or passkey.sign_count) and verified.new_sign_count <= passkey.sign_count:
            raise ClonedPasskeyError("The counter did not rise.")
        return Assertion(verified.new_sign_count, verified.credential_backed_up, verified.user_verified)


@contextmanager
def _every_fault_is_a_refusal() -> Iterator[None]:
    try:
        yield
    except InvalidPasskeyError:
        raise
    except Exception as error:  # the library and its parsers raise many kinds
        raise InvalidPasskeyError("The credential cannot be read or verified.") from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise InvalidPasskeyError(otherwise)


class _Parsed(NamedTuple):
    """The members of a credential that are verified. All others are ignored, because browsers may add some."""

    credential_id: bytes
    response: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        name = bytes_to_base64url(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": dict(self.response)}


def _parsed(credential: Any, members: tuple[str, ...]) -> _Parsed:
    _require(len(json.dumps(credential)) <= MAXIMUM_SIZE, "The credential is too large.")
    _require(credential["type"] == "public-key" and credential["id"] == credential["rawId"], "The id is ambiguous.")
    credential_id = _decoded(credential["id"])
    _require(1 <= len(credential_id) <= MAXIMUM_ID, "The id has a wrong length.")
    response = {name: credential["response"][name] for name in members}
    for text in response.values():
        _decoded(text)
    return _Parsed(credential_id, response)


def _decoded(text: Any) -> bytes:
    """Return the bytes of unpadded base64url. The decoder of the library skips characters that it does not know."""
    _require(isinstance(text, str), "A member is not a string.")
    decoded = base64url_to_bytes(text)
    _require(bytes_to_base64url(decoded) == text, "A member is not base64url.")
    return decoded


def _check_client_data(parsed: _Parsed, challenge: bytes) -> None:
    """Check what the library does not look at. It compares the type and the origin."""
    client_data = parse_object(base64url_to_bytes(parsed.response["clientDataJSON"]))
    _require(client_data["challenge"] == bytes_to_base64url(challenge), "The challenge is another one.")
    # The kit has no use for a ceremony in a frame of another site, which its user may not notice (section 13.4.2).
    _require(client_data.get("crossOrigin", False) is False, "The ceremony is cross-origin.")
    _require("topOrigin" not in client_data, "The ceremony has a top origin.")


def _check_attestation(attestation_object: bytes) -> None:
    """Check that there is no attestation, or that the passkey signed it itself (section 8.2).

    The kit asks for no attestation and has no roots to verify one with. It stops the others before the library parses
    their certificates.
    """
    match parse_cbor(attestation_object):
        case {"fmt": "none", "attStmt": {**statement}} if not statement:
            return
        case {"fmt": "packed", "attStmt": {"alg": int(), "sig": bytes(), **others}} if not others:
            return
    raise InvalidPasskeyError("The attestation is not accepted.")


def _check_public_key(public_key: bytes) -> None:
    """Check that a key is of an algorithm that was offered, and can be used. A key on another curve could not."""
    match parse_cbor(public_key):
        case {1: 2, 3: -7, -1: 1, -2: bytes(x), -3: bytes(y), **others}:
            is_offered = not others and len(x) == len(y) == 32
        case {1: 1, 3: -8, -1: 6, -2: bytes(x), **others}:
            is_offered = not others and len(x) == 32
        case {1: 3, 3: -257, -1: bytes(n), -2: bytes(e), **others}:
            is_offered = not others and len(n) in _RSA_SIZES and e == _RSA_EXPONENT
        case _:
            is_offered = False
    _require(is_offered, "The algorithm was not offered.")
    decoded_public_key_to_cryptography(decode_credential_public_key(public_key))


def _check_handle(found: Any, handle: bytes, *, is_required: bool) -> None:
    if found is None:
        _require(not is_required, "The user handle is missing.")
    else:
        _require(hmac.compare_digest(_decoded(found), handle), "The user handle is another one.")


def _transports(found: Any) -> tuple[str, ...]:
    """Return the words of the browser, in its order. What cannot be a transport is left out."""
    words = found if isinstance(found, list) else []
    known = dict.fromkeys(word for word in words if isinstance(word, str) and _TRANSPORT.fullmatch(word))
    return tuple(known)[:_MAXIMUM_TRANSPORTS]


def _is_discoverable(extensions: Any) -> bool | None:
    match extensions:
        case {"credProps": {"rk": bool(answer)}}:
            return answer
    return None
