"""Reading sessions: one with its user, by one round trip, on every authenticated request; a user's active ones."""

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections

from ninja_auth_kit.models.kept import KeptQuery, Part, Place, kept_behind, prepared, where

if TYPE_CHECKING:
    from ninja_auth_kit.models.sessions import UserSession

_USER = Place()
_KEY = UUID(int=0)  # stands where the session id will stand
# What tells whether a session counts, and what a route may show of it. The rest is read when it is used: it is for the
# kit, and each time among it costs its conversion.
FIELDS_OF_CHECK = (
    "id",
    "user_id",
    "login_time",
    "is_active",
    "refresh_expires_at",
    "auth_hash",
    "ip_address",
    "user_agent",
)


def read_session(
    session_id: UUID, *, alias: str, with_email: bool = False, for_check: bool = False
) -> "UserSession | None":
    """Return a session with its user loaded, or None where either is missing.

    Args:
        session_id: which.
        alias: the database.
        with_email: whether to join the user's `EmailAddress` too, which costs about a third more.
        for_check: whether only the fields of `FIELDS_OF_CHECK` are wanted at once.
    """
    rows = _query(alias, with_email=with_email, for_check=for_check).fetch(session_id)
    for session, user, *address in rows:
        session.user = user
        if address:
            set_address(user, address[0])
        found: UserSession = session
        return found
    return None


def read_active(user: Any, *, alias: str) -> "list[UserSession]":
    """Return the rows of a user that are active, the oldest first, whether or not they still count."""
    key = prepared(type(user), "pk", user.pk, connections[alias])
    return [session for (session,) in _active(alias).fetch(key)]


@cache
def _active(alias: str) -> KeptQuery:
    model: Any = apps.get_model("ninja_auth_kit", "UserSession")
    rows = model.objects.using(alias).filter(is_active=True).order_by("login_time", "pk")
    return KeptQuery(where(rows, "user", _USER), Part(model), places=[_USER])


def set_address(user: Any, address: Any) -> None:
    """Let a user have the address that was read beside it, or None; one without a key is that of an outer join."""
    relation: Any = type(user)._meta.get_field("authkit_email")
    relation.set_cached_value(user, address if address is not None and address.pk is not None else None)


@kept_behind(lambda: get_user_model()._default_manager)
def _query(alias: str, *, with_email: bool, for_check: bool) -> KeptQuery:
    only = FIELDS_OF_CHECK if for_check else ()
    session = Part(apps.get_model("ninja_auth_kit", "UserSession"), "sessions__", only=only)
    parts = [session, Part(get_user_model())]
    if with_email:
        parts.append(Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__"))
    # Through the user's default manager, as Django's own get_user(): whom it hides cannot use a session.
    users = get_user_model()._default_manager.using(alias).filter(sessions__id=_KEY).order_by()
    return KeptQuery(users, *parts, places=[_KEY])
