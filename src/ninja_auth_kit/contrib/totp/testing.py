"""Helpers for the tests of your project: an authenticator app for a user, and its codes."""

from typing import Any

from django.utils import timezone

from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.recovery_codes import renew_codes
from ninja_auth_kit.contrib.totp import codes
from ninja_auth_kit.contrib.totp.models import KIND, TotpSecret, sealed_secret


def enrol_totp(user: Any, *, name: str = "") -> list[str]:
    """Give a user a confirmed authenticator app, and return new recovery codes. Older ones are void.

    No session ends, no event is recorded and no email is sent, other than with the endpoints.

    Args:
        user: a saved user.
        name: what the user calls the app.
    """
    with atomic():
        factor = Factor(user_id=user.pk, kind=KIND, name=name, confirmed_at=timezone.now())
        Factor.objects.bulk_create([factor])
        secret = sealed_secret(codes.new_secret(), user_id=user.pk, factor_id=factor.pk)
        TotpSecret.objects.bulk_create([TotpSecret(factor_id=factor.pk, secret=secret)])
        return renew_codes(user)


def totp_code(user: Any) -> str:
    """Return a code that the newest authenticator app of a user shows and that has not been used.

    Within 30 seconds, that is the present one and, after its use, as many of the next ones as `TOTP["DRIFT"]` allows.

    Args:
        user: a user with an authenticator app.

    Raises:
        ValueError: the user has no authenticator app, or all present codes were used. Then let time pass, for example
            with the package time-machine.
    """
    secrets = TotpSecret.objects.confirmed_of(user.pk)
    if not secrets:
        raise ValueError("The user has no authenticator app. Call enrol_totp(user) first.")
    now = int(timezone.now().timestamp()) // codes.STEP
    step = max(now, secrets[-1].last_step + 1)
    if step > now + settings.TOTP["DRIFT"]:
        raise ValueError("All present codes were used. Let 30 seconds pass, for example with time-machine.")
    return codes.code_of_step(secrets[-1].open(), step)
