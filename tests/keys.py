"""Keys of every type, generated once per run, and the formats in which a public key is published."""

import datetime
import json
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS
from ninja_auth_kit.tokens import generate_key
from ninja_auth_kit.tokens.asymmetric import load_key

__all__ = ["ASYMMETRIC_ALGORITHMS"]


@cache
def pem(algorithm: str, number: int = 1) -> str:
    """Return the first, second, ... private key for an algorithm."""
    return generate_key(algorithm).text


def private(text: str) -> Any:
    return load_pem_private_key(text.encode(), None)


def public_pem(text: str) -> str:
    """Return the public key of a private key."""
    return private(text).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def kid(text: str, algorithm: str) -> str:
    return load_key(text, algorithm).kid


def entry(algorithm: str, text: str, state: str = "active") -> dict[str, str]:
    """Return an entry of SIGNING_KEYS."""
    return {"alg": algorithm, "key": text, "state": state}


def as_pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def odd(kind: str) -> str:
    """Return a key that must be rejected."""
    if kind == "encrypted":
        return _encrypted(PrivateFormat.PKCS8)
    if kind == "encrypted, as OpenSSL used to":
        return _encrypted(PrivateFormat.TraditionalOpenSSL)
    if kind == "a certificate":
        return _certificate(private(pem("RS256"))).public_bytes(Encoding.PEM).decode()
    made = {
        "RSA 1024": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=1024),  # noqa: S505  # on purpose
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "Ed448": ed448.Ed448PrivateKey.generate,
        "DSA": lambda: dsa.generate_private_key(2048),
    }
    return as_pem(made[kind]())


def _encrypted(how: PrivateFormat) -> str:
    return private(pem("ES256")).private_bytes(Encoding.PEM, how, BestAvailableEncryption(b"passphrase")).decode()


def _certificate(key: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "auth.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    digest = None if hasattr(key.public_key(), "public_bytes_raw") else hashes.SHA256()
    return builder.sign(key, digest)


def public_forms(algorithm: str) -> dict[str, bytes]:
    """Return a public key in every format, each of which has been mistaken for a secret."""
    key = private(pem(algorithm))
    public, certificate = key.public_key(), _certificate(key)
    jwk = load_key(pem(algorithm), algorithm).jwk
    bare = {name: value for name, value in jwk.items() if name not in {"kid", "alg", "use"}}
    forms = {
        "SPKI PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "SPKI DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "a certificate, PEM": certificate.public_bytes(Encoding.PEM),
        "a certificate, DER": certificate.public_bytes(Encoding.DER),
        "JWK": json.dumps(jwk).encode(),
        "JWK, compact": json.dumps(jwk, separators=(",", ":")).encode(),
        "JWK, bare": json.dumps(bare, sort_keys=True, separators=(",", ":")).encode(),
        "JWKS": json.dumps({"keys": [jwk]}).encode(),
        "JWKS, compact": json.dumps({"keys": [jwk]}, separators=(",", ":")).encode(),
        "the kid": jwk["kid"].encode(),
    }
    if algorithm in {"RS256", "PS256"}:
        forms["PKCS#1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms["PKCS#1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if algorithm == "EdDSA":
        forms["raw"] = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    if algorithm == "ES256":
        forms["a point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    endings = {f"{name}, {how}": change(form) for name, form in forms.items() for how, change in _ENDINGS.items()}
    return {**forms, **endings}


_ENDINGS = {
    "stripped": lambda form: form.strip(),
    "with a line feed": lambda form: form.strip() + b"\n",
    "with CRLF": lambda form: form.replace(b"\n", b"\r\n"),
}
