"""Checking a password through Django's authentication backends, in the same time for every account.

A successful login costs one hash, a rejected one two. They cost twice as many if the password that was sent has two
spellings (see `password_hashing`), whatever the account. The second hash is that of a shadow registration, or it is
discarded (`uniform.burn_hash`). So an attacker who registers an address and tries the password cannot measure what
became of the registration.
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_backends, get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import features
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, clear_local_variables
from ninja_auth_kit.models import OneTimeToken, PromisedEmail, ShadowRegistration, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email, counted_spelling
from ninja_auth_kit.models.users import is_verified, lock_user, set_address
from ninja_auth_kit.services.internal.password_hashing import discard_hash, is_password, spellings
from ninja_auth_kit.services.internal.uniform import burn_hash, burn_lock, burn_shadow_lookup


@sensitive_variables()
def authenticate(request: HttpRequest, *, identifier: str, holder: Any | None, by_email: bool, password: str) -> Any:
    """Check a password through Django's authentication backends, and return the user whom one of them returns.

    A backend may upgrade an outdated hash. The sessions and the links that are bound to the old hash of the same
    password stay valid, even if the login is refused afterwards.

    Args:
        request: passed to the backends.
        identifier: the email address or the username, as typed.
        holder: the user who has it, or None.
        by_email: whether it is an email address.
        password: as typed.

    Raises:
        InvalidCredentialsError: no backend accepts the password.
        EmailNotVerifiedError: no backend accepts it, but it is the password of a registration that was turned away.
    """
    username = username_for_backends(identifier, holder=holder, by_email=by_email)
    user = _ask_backends(request, holder=holder, username=username, password=password)
    is_holder = user is not None and holder is not None and user.pk == holder.pk
    # By email address, only the holder may log in: a username that looks like an address proves nothing.
    if user is None or (by_email and not is_holder):
        raise _refusal(identifier if by_email else username, by_email=by_email, password=password)
    if settings.EMAIL_VERIFICATION_REQUIRED and holder is not None and not is_verified(holder):
        burn_shadow_lookup(**_shadow_key(identifier if by_email else username, by_email=by_email))
        burn_hash(password)
    if is_holder:  # so that it is not read again before the user is locked
        set_address(user, getattr(holder, "authkit_email", None))
    # A backend of the project has upgraded the hash by other means than `user.save(update_fields=["password"])`, or a
    # parallel login has, or the password has changed.
    is_other_hash = is_holder and holder is not None and holder.password != user.password
    if is_other_hash and holder is not None and is_password(password, holder.password):
        _keep_bound(holder.pk, old=holder.password, new=user.password)
    return user


def username_for_backends(identifier: str, *, holder: Any | None, by_email: bool) -> str:
    """Return the username that the authentication backends are asked with, in one spelling for each account.

    A package such as django-axes counts the failures of a username. With several spellings of an unknown address,
    but one of a known address, its limits would tell them apart.

    Args:
        identifier: the email address or the username, as typed.
        holder: the user who has it, or None.
        by_email: whether it is an email address.
    """
    if holder is not None:
        return str(holder.get_username())
    if by_email:
        return counted_spelling(identifier)
    return str(get_user_model().normalize_username(identifier))


@sensitive_variables()
def _refusal(identifier: str, *, by_email: bool, password: str) -> InvalidCredentialsError | EmailNotVerifiedError:
    """Return the error of a rejected password.

    The password of a shadow registration gets the answer that a pending registration gets. Otherwise the answer would
    reveal that the address had an account when it was registered.
    """
    key = _shadow_key(identifier, by_email=by_email)
    shadow = ShadowRegistration.objects.find(**key) if key else None
    if shadow is None or not settings.EMAIL_VERIFICATION_REQUIRED:
        burn_hash(password)
        return InvalidCredentialsError()
    if not is_password(password, shadow.password):
        return InvalidCredentialsError()
    burn_lock(shadow.user_id)
    return EmailNotVerifiedError()


def _shadow_key(identifier: str, *, by_email: bool) -> dict[str, str]:
    """Return the arguments that find the shadow registration of an identifier; none if it is not an address."""
    if not by_email:
        return {"username": identifier}
    try:
        return {"canonical": canonical_email(identifier)}
    except InvalidEmailError:
        return {}


@sensitive_variables()
def _ask_backends(request: HttpRequest, *, holder: Any | None, username: str, password: str) -> Any | None:
    """Return the user whom a backend accepts with one of the spellings of the password.

    The backends are asked with every spelling, even if the first is right, as in `is_password`.
    """
    accepted = [
        _ask_with(request, holder=holder, username=username, spelling=spelling) for spelling in spellings(password)
    ]
    return next((user for user in accepted if user is not None), None)


@sensitive_variables()
def _ask_with(request: HttpRequest, *, holder: Any | None, username: str, spelling: str) -> Any | None:
    """Return the user whom the first accepting backend returns, and upgrade an outdated hash on the way."""
    user = None
    with _guarded_hash_upgrade(holder) as upgrade:
        user = _first_accepted(request, username=username, password=spelling)
    if upgrade.is_done:  # The guard has left the backend. Asked again, it finds the new hash, or another password.
        user = _first_accepted(request, username=username, password=spelling)
    return user


@sensitive_variables()
def _first_accepted(request: HttpRequest, *, username: str, password: str) -> Any | None:
    """Ask the backends in turn, as `django.contrib.auth.authenticate` does.

    That function itself would send `user_login_failed` so that a failing receiver turns a wrong password into a server
    error.
    """
    for backend in get_backends():
        if not _takes_passwords(backend):
            continue
        try:
            user = backend.authenticate(request, username=username, password=password)
        except PermissionDenied:  # the backend rejects the login for all backends
            return None
        # The username field cannot have this value: "x" is not a number. Or the hasher cannot take this password, or
        # cannot read the stored hash.
        except (ValueError, OverflowError, ValidationError):
            discard_hash(password)
            continue
        except Exception as error:
            clear_local_variables(error)
            raise
        if user is not None:
            user.backend = f"{type(backend).__module__}.{type(backend).__qualname__}"
            return user
    return None


def _takes_passwords(backend: Any) -> bool:
    """Return whether a backend takes a username and a password, and not other credentials."""
    method = backend.authenticate
    function = getattr(method, "__func__", method)
    return _accepts_arguments(function, has_self=function is not method)


@lru_cache(maxsize=64)
def _accepts_arguments(function: Any, *, has_self: bool) -> bool:
    positional = [None] * (1 + has_self)  # the request, and the backend before it
    try:
        inspect.signature(function).bind(*positional, username="", password="")
    except TypeError:
        return False
    return True


# The guard of a hash upgrade.
#
# Django's `check_password` upgrades an outdated hash with `user.save()`, whatever the row holds by then. Hashing takes
# a third of a second. If the owner resets a stolen password in that time, `save()` would restore the stolen one. So
# the guard intercepts the save, and writes the new hash only if the row still has the hash that was read. What is
# bound to the old hash is bound to the new one in the same transaction: the login may still be refused, because the
# limit of sessions is reached, the address is not verified or the custom claims fail, and a refused login must end no
# session.


class _HashUpgrade:
    """The hash upgrade that may happen during one login.

    Attributes:
        holder: the user whose hash may be upgraded, with the hash as it was read, or None.
        is_done: whether the save was intercepted. The row then has the new hash, or another password.
    """

    def __init__(self, holder: Any | None) -> None:
        self.holder, self.is_done = holder, False


class _InterceptedError(BaseException):
    """Leaves the backend. Not an Exception, so that the backend does not handle it."""


_current_upgrade: ContextVar[_HashUpgrade | None] = ContextVar("ninja_auth_kit_hash_upgrade", default=None)


@contextmanager
def _guarded_hash_upgrade(holder: Any | None) -> Iterator[_HashUpgrade]:
    """Intercept the upgrade of a user's hash in this block. If it `is_done`, the block was left early."""
    upgrade = _HashUpgrade(holder)
    token = _current_upgrade.set(upgrade)
    try:
        yield upgrade
    except _InterceptedError:
        upgrade.is_done = True
    finally:
        _current_upgrade.reset(token)


@receiver(pre_save, sender=django_settings.AUTH_USER_MODEL, dispatch_uid="ninja_auth_kit.hash_upgrade")
def _write_upgraded_hash(sender: Any, instance: Any, update_fields: Any, **_: Any) -> None:
    """Write an upgraded hash if the hash that was read is still in the row, and leave the backend."""
    upgrade = _current_upgrade.get()
    holder = None if upgrade is None else upgrade.holder
    if holder is None or instance.pk != holder.pk or set(update_fields or ()) != {"password"}:
        return
    with atomic():
        if lock_user(holder.pk) is not None:
            users = sender._base_manager.using(accounts_database()).filter(pk=holder.pk, password=holder.password)
            if users.update(password=instance.password):
                _keep_bound(holder.pk, old=holder.password, new=instance.password)
                holder.password = instance.password
    raise _InterceptedError


@sensitive_variables()
def _keep_bound(user_id: Any, *, old: str, new: str) -> None:
    """Keep the sessions and links of a user valid, sent or promised, if the row has this new hash of the password."""
    with atomic():
        user = lock_user(user_id)
        if user is None or user.password != new:
            return
        before = copy.copy(user)
        before.password = old
        UserSession.objects.update_auth_hash(user=user, old=old, new=new)
        OneTimeToken.objects.rebind_to_new_hash(before=before, after=user)
        PromisedEmail.objects.rebind_to_new_hash(before=before, after=user)
        features.rebind_to_new_hash(before=before, after=user)
