"""The query behind every authenticated request: a session and its user, by one round trip."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model

from ninja_auth_kit.models.kept import KeptQuery, Part, kept_behind

if TYPE_CHECKING:
    from ninja_auth_kit.models.sessions import UserSession

_KEY = UUID(int=0)  # stands where the session id will stand
# What tells whether a session counts, and what a route may show of it. The rest is read when it is used: it is for the
# kit, and each time among it costs its conversion.
CHECKED = (
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
    session_id: UUID, *, alias: str, with_email: bool = False, is_checked: bool = False
) -> "UserSession | None":
    """Return a session with its user loaded, or None where either is missing.

    Args:
        session_id: which.
        alias: the database.
        with_email: whether to join the user's `EmailAddress` too, which costs about a third more.
        is_checked: whether only the fields of `CHECKED` are wanted at once.
    """
    rows = _query(alias, with_email=with_email, is_checked=is_checked).fetch(session_id)
    for session, user, *address in rows:
        session.user = user
        if address:
            set_address(user, address[0])
        found: UserSession = session
        return found
    return None


def set_address(user: Any, address: Any) -> None:
    """Let a user have the address that was read beside it; one without a key is that of an outer join, and none."""
    relation: Any = type(user)._meta.get_field("authkit_email")
    relation.set_cached_value(user, address if address.pk is not None else None)


@kept_behind(lambda: get_user_model()._default_manager)
def _query(alias: str, *, with_email: bool, is_checked: bool) -> KeptQuery:
    session = Part(apps.get_model("ninja_auth_kit", "UserSession"), "sessions__", only=CHECKED if is_checked else ())
    parts = [session, Part(get_user_model())]
    if with_email:
        parts.append(Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__"))
    # Through the user's default manager, as Django's own get_user(): whom it hides cannot use a session.
    users = get_user_model()._default_manager.using(alias).filter(sessions__id=_KEY).order_by()
    return KeptQuery(users, *parts, places=[_KEY])
