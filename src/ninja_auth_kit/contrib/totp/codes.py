"""The codes of RFC 6238: SHA-1, six digits, 30 seconds, as all authenticator apps have them."""

import base64
import hmac
import secrets
from urllib.parse import urlsplit

import pyotp
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import settings

SECRET_BYTES = 20  # RFC 4226 section 4, R6: 160 bits are recommended
STEP = 30  # seconds


def new_secret() -> bytes:
    """Return a new random secret."""
    return secrets.token_bytes(SECRET_BYTES)


def as_text(secret: bytes) -> str:
    """Return a secret in Base32, as users type it."""
    return base64.b32encode(secret).decode()


@sensitive_variables()
def code_of_step(secret: bytes, step: int) -> str:
    """Return the code of a time step."""
    return pyotp.TOTP(as_text(secret)).generate_otp(step)


@sensitive_variables()
def matching_step(secret: bytes, code: str) -> int | None:
    """Return the time step whose code this is, or None. All steps that are allowed are compared, in constant time.

    Args:
        secret: the secret.
        code: six ASCII digits.
    """
    totp = pyotp.TOTP(as_text(secret))
    now = int(timezone.now().timestamp()) // STEP
    drift = settings.TOTP["DRIFT"]
    found = None
    for step in range(now - drift, now + drift + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


@sensitive_variables()
def provisioning_uri(secret: bytes, *, account: str) -> str:
    """Return the `otpauth://` address that a QR code has for authenticator apps."""
    issuer = settings.TOTP["ISSUER_NAME"] or urlsplit(settings.BASE_URL or "").hostname
    return pyotp.TOTP(as_text(secret)).provisioning_uri(name=account, issuer_name=issuer)


@sensitive_variables()
def qr_svg(uri: str) -> str:
    """Return the QR code as an SVG element, to be put into a page."""
    import segno  # it takes 0.2 s, and only an enrolment needs it

    return str(segno.make(uri, error="m").svg_inline(scale=4, border=4))
