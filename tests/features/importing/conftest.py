"""Second factors that their own packages have made. These tests have a pass of their own: see tox.ini."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import RequestFactory

from ninja_auth_kit.contrib.passkeys.testing import FakePasskey
from tests.features.conftest import Authenticator
from tests.features.passkeys.conftest import new_passkey

IS_INSTALLED = os.environ["DJANGO_SETTINGS_MODULE"] == "tests.settings_features_import"
# Without the packages, none of these tests can be imported.
_OTHERS = [str(path) for path in Path(__file__).parent.iterdir() if path != Path(__file__)]
collect_ignore = [] if IS_INSTALLED else _OTHERS


def imports(source: str, *options: str) -> str:
    """Run the command, and return what it prints."""
    output = StringIO()
    call_command("authkit_factors", "import", source, *options, stdout=output)
    return output.getvalue()


def imported(source: str, *options: str) -> Any:
    """Run the command with --json, and return the object."""
    return json.loads(imports(source, *options, "--json"))


def reasons(source: str, *options: str) -> dict[str, list[str]]:
    """Return the names of the rows that were not imported, by reason."""
    skipped = imported(source, *options)["skipped"]
    return {reason: [one["factor"].split()[-1] for one in found["listed"]] for reason, found in skipped.items()}


def otp_device(user: Any, **fields: Any) -> Any:
    """Return a confirmed device of django-otp, with a key that django-otp has made."""
    from django_otp.plugins.otp_totp.models import TOTPDevice

    return TOTPDevice.objects.create(user=user, name="my phone", **fields)


def app_of(device: Any) -> Authenticator:
    """Return the authenticator app that has the secret of a device of django-otp."""
    return Authenticator(base64.b32encode(device.bin_key).decode())


@contextmanager
def request_of_allauth() -> Iterator[Any]:
    """Let allauth work as in a request to http://localhost:8000."""
    from allauth.core import context
    from django.contrib.sessions.backends.signed_cookies import SessionStore

    request = RequestFactory().get("/", SERVER_NAME="localhost", SERVER_PORT=8000)
    request.session = SessionStore()
    with context.request_context(request):
        yield request


def authenticators() -> Any:
    """Return the manager of the rows of allauth."""
    from allauth.mfa.models import Authenticator as Row

    return Row.objects


def is_accepted_by_allauth(code: str) -> bool:
    """Let allauth check the code of the only authenticator app."""
    return bool(authenticators().get(type="totp").wrap().validate_code(code))


def allauth_totp(user: Any, secret: str | None = None) -> Authenticator:
    """Let allauth activate an authenticator app, and return it."""
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    secret = secret or generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return Authenticator(secret)


def allauth_passkey(user: Any, *, passwordless: bool = True, **attributes: Any) -> FakePasskey:
    """Let allauth register a passkey, and return it."""
    from allauth.mfa.webauthn.internal import auth

    passkey = new_passkey(is_resident=passwordless, **attributes)
    with request_of_allauth():
        options = json.loads(json.dumps(auth.begin_registration(user, passwordless), default=dict))
        credential = passkey.create(options["publicKey"])
        auth.complete_registration(credential)
        auth.WebAuthn.add(user, "my laptop", credential)
    return passkey


@pytest.fixture
def make_users(make_user: Callable[..., Any]) -> Callable[[int], list[Any]]:
    """Return a function that makes users."""
    return lambda number: [make_user(f"user{index}@example.com") for index in range(number)]
