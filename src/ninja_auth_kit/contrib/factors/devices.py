"""Remembered devices: a login on one of them is not asked for the second factor. Off unless `REMEMBER_DEVICE` is set.

A remembered device is no factor: the session has level 1, so a route with `JWTAuth(acr="aal2")` still asks.
"""

import secrets
import uuid
from collections.abc import Callable
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.factors import signals
from ninja_auth_kit.contrib.factors.exceptions import DeviceNotFoundError
from ninja_auth_kit.contrib.factors.models import DEVICE_LABEL, Factor, RememberedDevice
from ninja_auth_kit.models.users import lock_user
from ninja_auth_kit.tokens.digests import digest, digests

PREFIX = "nakd_"
MOST_DEVICES = 10  # of one user; the oldest goes


@sensitive_variables()
def is_remembered(token: str, *, user: Any, state: str) -> bool:
    """Return whether a token is that of a device that this user may use, and note its use.

    Args:
        token: as received.
        user: the locked user.
        state: the state of the account and of its factors, see `Confirmed.state_of`.
    """
    if settings.FACTORS["REMEMBER_DEVICE"] is None or not token.startswith(PREFIX):
        return False
    now = timezone.now()
    found = RememberedDevice.objects.filter(
        user=user.pk, digest__in=digests(DEVICE_LABEL, f"{token} {user.pk}"), expires_at__gt=now
    ).first()
    if found is None or not found.is_bound_to(state):
        return False
    RememberedDevice.objects.filter(pk=found.pk).update(last_used_at=now)
    return True


@sensitive_variables()
def remember(user: Any, *, client: ClientInfo, is_unchanged: Callable[[Any], bool]) -> str | None:
    """Remember the device of a login with a second factor, and return its token; None if none is remembered.

    Args:
        user: the user.
        client: the client of the login.
        is_unchanged: called with the locked user. It returns whether the account and its factors are as they were
            when the login began: the device of a login with the former password must not outlive its change.
    """
    lifetime = settings.FACTORS["REMEMBER_DEVICE"]
    if lifetime is None:
        return None
    token = PREFIX + secrets.token_urlsafe(32)
    with atomic():
        current = lock_user(user.pk)
        if current is None or not is_unchanged(current):
            return None
        older = RememberedDevice.objects.filter(user=user.pk).order_by("-last_used_at")
        RememberedDevice.objects.filter(pk__in=[one.pk for one in older[MOST_DEVICES - 1 :]]).delete()
        device = RememberedDevice(
            user_id=user.pk,
            digest=digest(DEVICE_LABEL, f"{token} {user.pk}"),
            expires_at=timezone.now() + lifetime,
            ip_address=client.ip_address,
            user_agent=client.user_agent,
        )
        device.bind(Factor.objects.confirmed(current).state_of(current))
        RememberedDevice.objects.bulk_create([device])
        signals.device_remembered.announce(user=current, client=client, device_id=str(device.pk))
    return token


def list_devices(user: Any) -> list[RememberedDevice]:
    """Return the devices of a user that are remembered, the last used first."""
    state = Factor.objects.confirmed(user).state_of(user)
    rows = RememberedDevice.objects.filter(user=user.pk, expires_at__gt=timezone.now()).order_by("-last_used_at")
    return [device for device in rows if device.is_bound_to(state)]


def forget(user: Any, *, client: ClientInfo, device_id: str | None = None) -> None:
    """Forget one device of a user, or all of them.

    Raises:
        DeviceNotFoundError: the user has no device with this id.
    """
    devices = RememberedDevice.objects.filter(user=user.pk)
    if device_id is not None:
        try:
            devices = devices.filter(pk=uuid.UUID(device_id))
        except ValueError:
            raise DeviceNotFoundError from None
    with atomic():
        number, _ = devices.delete()
        if number:
            signals.devices_forgotten.announce(user=user, client=client, number=number)
    if device_id is not None and not number:
        raise DeviceNotFoundError
