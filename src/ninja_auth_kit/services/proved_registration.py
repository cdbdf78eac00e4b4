"""Registration of an address that the caller has proved already: the account is verified, and has no password."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.apps import apps
from django.db import IntegrityError
from django.utils import timezone

from ninja_auth_kit import features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.models import EmailAddress, OneTimeToken, ShadowRegistration, UserSession
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.unique_values import UniqueValues
from ninja_auth_kit.models.users import (
    email_field,
    find_holder,
    is_pending,
    lock_user,
    replaceable_fields,
    set_address,
)
from ninja_auth_kit.services.internal.finish_login import announce_end
from ninja_auth_kit.services.internal.lapsed_registrations import release_values
from ninja_auth_kit.services.internal.user_creation import set_fields
from ninja_auth_kit.services.registration import (
    Registration,
    Standing,
    build_candidate,
    require_free_values,
    reserve_values,
    resolve_conflict,
)

T = TypeVar("T")


class AddressInUseError(Exception):
    """An account that must not be replaced has the address, or another registration of it was faster."""


def register_proved_address(*, email: str, username: str | None, client: ClientInfo, start: Callable[[Any], T]) -> T:
    """Create a verified account without a password, or replace the pending registration of the address by it.

    Attack: a stranger registers the address of another person, and waits until its owner proves it. So nothing of a
    pending registration survives: neither its password and its links nor the values of its fields.

    Args:
        email: the address that the caller has proved, as typed.
        username: required if the user model has a username beside the email address, otherwise None.
        client: the caller.
        start: called with the new user in the transaction, to use up what proved the address and to start a session.
            If it raises an exception, no account is created.

    Returns:
        What `start` returned.

    Raises:
        AddressInUseError: the address has an account by now.
        RegistrationClosedError: `REGISTRATION_OPEN` is False.
        InvalidInputError: the address or the username breaks a rule, or the username is taken.
    """
    candidate = build_candidate(email=email, username=username, fields={})
    candidate.set_unusable_password()
    owner = find_holder(email)
    if Standing.of(owner) is Standing.TAKEN:
        raise AddressInUseError
    unique = UniqueValues(candidate, set_fields(candidate, {}))
    new = Registration(unique, email, canonical_email(email), {}, client)
    shadows = ShadowRegistration.objects.related(owner=owner, keys=unique.keys.values())
    release_values(unique, require_free_values(new, shadows))
    try:
        return _store(owner, new, start)
    except IntegrityError as error:
        current = find_holder(email)
        if Standing.of(current) is Standing.TAKEN:
            raise AddressInUseError from None
        if current is None or owner is not None:  # otherwise a registration was faster, and is replaced
            resolve_conflict(error, new)
        return _store(current, new, start)


def _store(pending: Any | None, new: Registration, start: Callable[[Any], T]) -> T:
    with atomic():
        reserve_values(new)
        user = new.candidate if pending is None else _replaced(pending, new)
        now = timezone.now()
        address = EmailAddress(user=user) if pending is None else user.authkit_email
        address.email, address.canonical = new.email, new.canonical
        address.verified_at, address.registered_at = now, address.registered_at or now
        for row in (user, address):
            row.save(using=accounts_database(), force_insert=pending is None)
        set_address(user, address)
        signals.user_registered.announce(user=user, client=new.client, replaced=pending is not None)
        signals.email_verified.announce(user=user, client=new.client)
        return start(user)


def _replaced(pending: Any, new: Registration) -> Any:
    """Return the locked pending user with the values of the candidate, and delete everything that belonged to it.

    Raises:
        AddressInUseError: it is not pending any more.
    """
    user = lock_user(pending.pk)
    if user is None or not is_pending(user):
        raise AddressInUseError
    _delete_everything_of(user, client=new.client)
    user.password, user._password = new.candidate.password, None
    setattr(user, email_field(), getattr(new.candidate, email_field()))
    setattr(user, user.USERNAME_FIELD, new.candidate.get_username())
    for field in replaceable_fields():
        setattr(user, field.attname, getattr(new.candidate, field.attname))
    return user


def _delete_everything_of(user: Any, *, client: ClientInfo) -> None:
    """Delete the links and the factors of a pending user, and end its sessions.

    It may have some: with a user model that does not record the last login, a user who logged in before
    `EMAIL_VERIFICATION_REQUIRED` was turned on is pending.
    """
    for ended in UserSession.objects.end(reason=EndReason.REVOKED, user_id=user.pk):
        announce_end(user, ended.id, EndReason.REVOKED, by="system", client=client)
    for model in (OneTimeToken, ShadowRegistration):
        model._base_manager.using(accounts_database()).filter(user=user.pk).delete()
    for feature in features.features():
        for name, field in feature.owned_models:
            rows = apps.get_model(feature.name, name)._base_manager.using(accounts_database())
            if field == "user":
                rows.filter(user=user.pk).delete()
