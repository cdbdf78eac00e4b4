"""Checking a password through Django's backends, in an answer that takes as long whoever it is.

A login costs one hash, a refusal two. The second is for the shadow of a registration that was turned away, or for
nobody: whoever registers an address and tries the password must not see by the clock either what came of it.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_backends, get_user_model
from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, clear_local_variables
from ninja_auth_kit.models import ShadowRegistration
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import is_verified, lock_user


@sensitive_variables()
def authenticate(
    request: HttpRequest, *, identifier: str, holder: Any | None, by_email: bool, password: str
) -> tuple[Any, bool]:
    """Check a password through Django's authentication backends.

    Args:
        request: handed to the backends.
        identifier: the address or the name, as typed.
        holder: the user who has it, or None.
        by_email: whether it is an address.
        password: as typed.

    Returns:
        Who has proved to be the user, and whether the hash that `holder` has in memory is of this password too, where
        a backend has renewed it since.

    Raises:
        InvalidCredentialsError: no backend accepts the password.
        EmailNotVerifiedError: none does, but it is that of a registration that was turned away.
    """
    name = _name(identifier, holder=holder, by_email=by_email)
    user = None
    with renewing(holder) as renewal:
        user = _first_accepted(request, username=name, password=password)
    if renewal.is_done:  # the backend has got no further
        user = _first_accepted(request, username=name, password=password)
    is_holder = user is not None and holder is not None and user.pk == holder.pk
    # Of an address, the holder must be who logs in: a username that looks like an address proves nothing.
    if user is None or (by_email and not is_holder):
        raise _refusal(_shadow(identifier if by_email else name, by_email=by_email), password=password)
    if settings.EMAIL_VERIFICATION_REQUIRED and holder is not None and not is_verified(holder):
        _shadow(identifier if by_email else name, by_email=by_email)
        make_password(password)
    return user, holder is not None and is_holder and _is_same(password, holder.password, user.password)


def _name(identifier: str, *, holder: Any | None, by_email: bool) -> str:
    if by_email and holder is not None:
        return str(holder.get_username())
    return str(get_user_model().normalize_username(identifier))


@sensitive_variables()
def _is_same(password: str, before: str, after: str) -> bool:
    return before == after or check_password(password, before)


def _shadow(identifier: str, *, by_email: bool) -> ShadowRegistration | None:
    if not by_email:
        return ShadowRegistration.objects.find(username=identifier)
    try:
        return ShadowRegistration.objects.find(canonical=canonical_email(identifier))
    except InvalidEmailError:
        return None


@sensitive_variables()
def _refusal(shadow: ShadowRegistration | None, *, password: str) -> InvalidCredentialsError | EmailNotVerifiedError:
    if shadow is None or not settings.EMAIL_VERIFICATION_REQUIRED:
        make_password(password)
        return InvalidCredentialsError()
    if not check_password(password, shadow.password):
        return InvalidCredentialsError()
    with atomic():  # as long as with a registration that waits for its verification
        lock_user(shadow.user_id)
    return EmailNotVerifiedError()


@sensitive_variables()
def _first_accepted(request: HttpRequest, *, username: str, password: str) -> Any | None:
    """Ask the backends in turn, as `django.contrib.auth.authenticate` does.

    Not that function itself, because it sends `user_login_failed` so that a failing receiver turns a wrong password
    into a server error.
    """
    for backend in get_backends():
        if not _takes_passwords(backend):
            continue
        try:
            user = backend.authenticate(request, username=username, password=password)
        except PermissionDenied:  # "stop here", in the protocol of the backends
            return None
        except (ValueError, ValidationError):  # no name that the field can have: "x" is no number
            make_password(password)
            continue
        except Exception as error:
            clear_local_variables(error)
            raise
        if user is not None:
            user.backend = f"{type(backend).__module__}.{type(backend).__qualname__}"
            return user
    return None


def _takes_passwords(backend: Any) -> bool:
    """Tell whether a backend asks for a name and a password, and not for other credentials."""
    method = backend.authenticate
    function = getattr(method, "__func__", method)
    return _binds(function, has_self=function is not method)


@lru_cache(maxsize=64)
def _binds(function: Any, *, has_self: bool) -> bool:
    positional = [None] * (1 + has_self)  # the request, and the backend before it
    try:
        inspect.signature(function).bind(*positional, username="", password="")
    except TypeError:
        return False
    return True


class Renewal:
    """What is known of the one that may happen in a login.

    Attributes:
        holder: whose hash it may be, with the hash as it was read, or None.
        is_done: whether the row has been written, or has another password; the backend that asked got no further.
    """

    def __init__(self, holder: Any | None) -> None:
        self.holder, self.is_done = holder, False


class _DealtWithError(BaseException):
    """Leaves the backend, past whatever it does about exceptions."""


_renewal: ContextVar[Renewal | None] = ContextVar("renewal", default=None)


@contextmanager
def renewing(holder: Any | None) -> Iterator[Renewal]:
    """Take the renewal of a user's hash out of the hands of whoever is asked about the password in this block.

    Where it `is_done`, the block was left, and who was asked is to be asked again: by then the hash is a new one, or
    the password another.
    """
    renewal = Renewal(holder)
    token = _renewal.set(renewal)
    try:
        yield renewal
    except _DealtWithError:
        renewal.is_done = True
    finally:
        _renewal.reset(token)


def renew(sender: Any, instance: Any, update_fields: Any, **_: Any) -> None:
    """Receive `pre_save` of users: write a renewed hash where the one that was read still stands, and nowhere else."""
    renewal = _renewal.get()
    holder = None if renewal is None else renewal.holder
    if holder is None or instance.pk != holder.pk or set(update_fields or ()) != {"password"}:
        return
    unchanged = sender._base_manager.using(accounts_database()).filter(pk=holder.pk, password=holder.password)
    unchanged.update(password=instance.password)
    raise _DealtWithError
