"""The 15 test vectors of WebAuthn Level 3 section 16, in `vectors.json` as `credential.toJSON()` writes them."""

import base64
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from ninja_auth_kit.contrib.passkeys import ceremonies
from ninja_auth_kit.contrib.passkeys.ceremonies import InvalidPasskeyError
from ninja_auth_kit.contrib.passkeys.structures import Assertion, NewPasskey, RelyingParty, StoredPasskey

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
PARTY = RelyingParty("example.org", "Example", ("https://example.org",))

ACCEPTED = ["none.ES256", "packed-self.ES256", "none.ES256.long-credential-id"]
CROSS_ORIGIN = ["none.ES256.crossOrigin", "none.ES256.topOrigin"]
ATTESTED = [  # by a certificate, with a key of an algorithm that the kit offers
    "packed.ES256",
    "packed.RS256",
    "packed.EdDSA",
    "tpm.ES256",
    "android-key.ES256",
    "apple.ES256",
    "fido-u2f.ES256",
]
NOT_OFFERED = ["packed.ES384", "packed.ES512", "packed.Ed448"]


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def registered(vector: dict[str, Any]) -> NewPasskey:
    challenge = decoded(vector["registration_challenge"])
    return ceremonies.verify_registration(vector["registration"], party=PARTY, challenge=challenge)


def asserted(vector: dict[str, Any]) -> Assertion:
    """Use the passkey of a vector. Its key is read without the library, because most were never registered."""
    data = cbor2.loads(decoded(vector["registration"]["response"]["attestationObject"]))["authData"]
    key = data[55 + int.from_bytes(data[53:55]) :]
    passkey = StoredPasskey(decoded(vector["registration"]["id"]), key, 0, bool(data[32] & 0x08), bytes(32))
    return ceremonies.verify_assertion(
        vector["authentication"],
        passkey,
        party=PARTY,
        challenge=decoded(vector["authentication_challenge"]),
        require_verification=False,
        require_handle=False,
    )


def test_each_vector_is_in_one_group() -> None:
    assert sorted(VECTORS) == sorted(ACCEPTED + CROSS_ORIGIN + ATTESTED + NOT_OFFERED)
    assert len(VECTORS) == 15


@pytest.mark.security("PASS-02")
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_passkey_without_certificates_is_registered_and_used(name: str) -> None:
    new = registered(VECTORS[name])

    assert new.credential_id == decoded(VECTORS[name]["registration"]["id"])
    assert len(new.credential_id) == (1023 if "long" in name else 32)
    assert asserted(VECTORS[name]).sign_count == 0


@pytest.mark.security("PASS-04")
@pytest.mark.parametrize("name", CROSS_ORIGIN)
def test_a_vector_from_a_frame_of_another_site_is_refused(name: str) -> None:
    for ceremony in (registered, asserted):
        with pytest.raises(InvalidPasskeyError, match="cross-origin"):
            ceremony(VECTORS[name])


@pytest.mark.security("PASS-11")
@pytest.mark.parametrize("name", ATTESTED)
def test_a_passkey_with_certificates_is_not_registered_but_its_signature_is_right(name: str) -> None:
    with pytest.raises(InvalidPasskeyError, match="attestation"):
        registered(VECTORS[name])

    assert asserted(VECTORS[name]).sign_count == 0


@pytest.mark.security("PASS-11")
@pytest.mark.parametrize("name", NOT_OFFERED)
def test_a_passkey_of_an_algorithm_that_was_not_offered_is_not_registered(name: str) -> None:
    response = VECTORS[name]["registration"]["response"]
    attestation = cbor2.loads(decoded(response["attestationObject"])) | {"fmt": "none", "attStmt": {}}
    plain = base64.urlsafe_b64encode(cbor2.dumps(attestation)).rstrip(b"=").decode()
    without = {**VECTORS[name]["registration"], "response": {**response, "attestationObject": plain}}

    with pytest.raises(InvalidPasskeyError, match="attestation"):
        registered(VECTORS[name])
    with pytest.raises(InvalidPasskeyError) as caught:
        registered({**VECTORS[name], "registration": without})
    assert "Unsupported credential public key alg" in str(caught.value.__cause__)
