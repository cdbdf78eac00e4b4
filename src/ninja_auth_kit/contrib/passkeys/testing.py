"""A software authenticator for the tests of your project: it answers options as a browser with a passkey does."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ES256, EDDSA, RS256 = -7, -8, -257  # IANA registry of COSE algorithms

_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40  # WebAuthn Level 3 section 6.1


@dataclass(kw_only=True)
class FakePasskey:
    """A passkey and the browser around it. Each attribute may be changed between two calls.

    It does what it is asked for, also where a real browser would refuse, so that a test can send what an attacker
    would send.

        passkey = FakePasskey(origin="https://example.com")
        credential = passkey.create(options)  # what `credential.toJSON()` gives after navigator.credentials.create()
        credential = passkey.get(options)  # the same after navigator.credentials.get()

    Attributes:
        origin: the origin of the page.
        algorithm: ES256 (-7), EdDSA (-8) or RS256 (-257) for the key that `create` makes.
        is_resident: whether it is discoverable, and names its user in each answer.
        is_user_present: the flag UP of the answers.
        is_user_verified: the flag UV.
        backup_eligible: the flag BE.
        backed_up: the flag BS.
        sign_count: the counter of the last answer.
        count_by: how much the counter rises with each `get`. Synced passkeys do not count, so 0 for them.
        aaguid: the model of the authenticator.
        transports: what the browser says about it.
        attestation: "none", or "packed" for an attestation that the passkey signs itself.
        client_data: members to add to or change in `clientDataJSON`, such as {"crossOrigin": True}.
        rp_id: the domain that it is bound to. `create` sets it.
        user_handle: the user that it belongs to. `create` sets it.
        credential_id: its id. `create` sets it.
    """

    origin: str = "https://example.com"
    algorithm: int = ES256
    is_resident: bool = True
    is_user_present: bool = True
    is_user_verified: bool = True
    backup_eligible: bool = False
    backed_up: bool = False
    sign_count: int = 0
    count_by: int = 1
    aaguid: UUID = field(default_factory=lambda: UUID(int=0))
    transports: Sequence[str] = ("internal",)
    attestation: Literal["none", "packed"] = "none"
    client_data: Mapping[str, Any] = field(default_factory=dict)
    rp_id: str = ""
    user_handle: bytes = b""
    credential_id: bytes = b""
    _key: Any = field(default=None, repr=False)

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Make a new key for registration options, and return what `credential.toJSON()` gives."""
        self._key = _new_key(self.algorithm)
        self.credential_id = secrets.token_bytes(32)
        self.rp_id, self.user_handle = options["rp"]["id"], _decoded(options["user"]["id"])
        client_data = self._client_data("webauthn.create", options["challenge"])
        public_key = _cose_key(self._key.public_key())
        attested = self.aaguid.bytes + len(self.credential_id).to_bytes(2) + self.credential_id + public_key
        data = self._authenticator_data(_ATTESTED) + attested
        statement = {"alg": self.algorithm, "sig": self._sign(data, client_data)} if self.attestation != "none" else {}
        asks_for_properties = options.get("extensions", {}).get("credProps")
        return {
            **self._credential(),
            "clientExtensionResults": {"credProps": {"rk": self.is_resident}} if asks_for_properties else {},
            "response": {
                "clientDataJSON": _encoded(client_data),
                "attestationObject": _encoded(
                    _cbor({"fmt": self.attestation, "attStmt": statement, "authData": data}),
                ),
                "authenticatorData": _encoded(data),
                "transports": list(self.transports),
                "publicKey": _encoded(
                    self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                ),
                "publicKeyAlgorithm": self.algorithm,
            },
        }

    def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Sign the challenge of authentication options, and return what `credential.toJSON()` gives."""
        self.sign_count += self.count_by
        client_data = self._client_data("webauthn.get", options["challenge"])
        data = self._authenticator_data()
        return {
            **self._credential(),
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": _encoded(client_data),
                "authenticatorData": _encoded(data),
                "signature": _encoded(self._sign(data, client_data)),
                "userHandle": _encoded(self.user_handle) if self.is_resident else None,
            },
        }

    def _credential(self) -> dict[str, Any]:
        name = _encoded(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "authenticatorAttachment": "platform"}

    def _client_data(self, kind: str, challenge: str) -> bytes:
        members = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({**members, **self.client_data}, separators=(",", ":")).encode()

    def _authenticator_data(self, flags: int = 0) -> bytes:
        for flag, is_set in (
            (_PRESENT, self.is_user_present),
            (_VERIFIED, self.is_user_verified),
            (_ELIGIBLE, self.backup_eligible),
            (_BACKED_UP, self.backed_up),
        ):
            flags |= flag if is_set else 0
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4)

    def _sign(self, data: bytes, client_data: bytes) -> bytes:
        signed = data + hashlib.sha256(client_data).digest()
        arguments: tuple[Any, ...] = ()
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            arguments = (ec.ECDSA(hashes.SHA256()),)
        elif isinstance(self._key, rsa.RSAPrivateKey):
            arguments = (padding.PKCS1v15(), hashes.SHA256())
        signature: bytes = self._key.sign(signed, *arguments)
        return signature


def _new_key(algorithm: int) -> Any:
    if algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == RS256:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def _cose_key(key: Any) -> bytes:
    """Return a public key as RFC 9053 section 7 and RFC 8230 section 4 write it."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _cbor({1: 1, 3: EDDSA, -1: 6, -2: key.public_bytes(Encoding.Raw, PublicFormat.Raw)})
    numbers = key.public_numbers()
    if isinstance(key, rsa.RSAPublicKey):
        return _cbor({1: 3, 3: RS256, -1: numbers.n.to_bytes(key.key_size // 8), -2: numbers.e.to_bytes(3)})
    return _cbor({1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})


def _cbor(value: Any) -> bytes:
    """Return an integer, bytes, text or map in CBOR (RFC 8949 section 3)."""
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value)) + value.encode()
    return _head(5, len(value)) + b"".join(_cbor(part) for pair in value.items() for part in pair)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = 1 if number < 256 else 2
    return bytes([major << 5 | 23 + size]) + number.to_bytes(size)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
