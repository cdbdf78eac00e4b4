"""How sessions are read, started, rotated and ended: the statements that run in every request, login and refresh."""

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.compiled_query import (
    CompiledQuery,
    Part,
    Placeholder,
    cached_unless_filtered,
    prepared,
    where,
)
from ninja_auth_kit.models.users import set_address

if TYPE_CHECKING:
    from ninja_auth_kit.models.sessions import UserSession

_USER = Placeholder()
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
def _active(alias: str) -> CompiledQuery:
    model: Any = apps.get_model("ninja_auth_kit", "UserSession")
    rows = model.objects.using(alias).filter(is_active=True).order_by("login_time", "pk")
    return CompiledQuery(where(rows, "user", _USER), Part(model), places=[_USER])


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _query(alias: str, *, with_email: bool, for_check: bool) -> CompiledQuery:
    only = FIELDS_OF_CHECK if for_check else ()
    session = Part(apps.get_model("ninja_auth_kit", "UserSession"), "sessions__", only=only)
    parts = [session, Part(get_user_model())]
    if with_email:
        parts.append(Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__"))
    # Through the user's default manager, as Django's own get_user(): whom it hides cannot use a session.
    users = get_user_model()._default_manager.using(alias).filter(sessions__id=_KEY).order_by()
    return CompiledQuery(users, *parts, places=[_KEY])


START = """
INSERT INTO {sessions} (
    id, user_id, login_time, is_active, end_reason, slot, refresh_token, generation, refreshed_at, refresh_expires_at,
    expires_at, auth_hash, ip_address, user_agent
) VALUES (
    %(id)s, %(user_id)s, %(login_time)s, TRUE, '', %(slot)s, %(refresh_token)s, 0, %(refreshed_at)s,
    %(refresh_expires_at)s, %(expires_at)s, %(auth_hash)s, %(ip_address)s::inet, %(user_agent)s
)
"""

# The update and the insert are one statement, so a session is never ended without its token being withdrawn.
END = """
WITH ended AS (
    UPDATE {sessions} SET is_active = FALSE, logout_time = %(now)s, end_reason = %(reason)s
    WHERE is_active AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[])) {of_user}
        AND id IS DISTINCT FROM %(but)s::uuid
    RETURNING id, user_id, refresh_token
), withdrawn AS (
    INSERT INTO {blacklist} (token, blacklisted_at) SELECT refresh_token, %(now)s FROM ended
    ON CONFLICT (token) DO NOTHING
)
SELECT id, user_id FROM ended
"""

# A password may change in between, and carry the session over to another `auth_hash`.
ROTATE = """
UPDATE {sessions} SET
    generation = %(generation)s, refresh_token = %(refresh_token)s, refreshed_at = %(refreshed_at)s,
    refresh_expires_at = %(refresh_expires_at)s, auth_hash = %(auth_hash)s
WHERE id = %(id)s AND is_active AND generation = %(before_generation)s AND refresh_token = %(before_refresh_token)s
    AND auth_hash = %(before_auth_hash)s
    AND NOT EXISTS (SELECT FROM {blacklist} WHERE token = {sessions}.refresh_token)
"""


@cache
def with_tables(sql: str, **parts: str) -> str:
    """Return a statement with the names of the tables in it.

    Args:
        sql: one of those above.
        parts: what else it wants.
    """
    quote = connections[accounts_database()].ops.quote_name
    tables = {"sessions": "UserSession", "blacklist": "BlacklistedToken"}
    models = {name: apps.get_model("ninja_auth_kit", model) for name, model in tables.items()}
    return sql.format(**{name: quote(model._meta.db_table) for name, model in models.items()}, **parts)
