"""The statements that read, rotate and end sessions.

At least one of them runs in every guarded request, login, refresh and logout.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.compiled_query import CompiledQuery, ModelColumns, Placeholder, cached_unless_filtered
from ninja_auth_kit.models.email_addresses import EmailAddress
from ninja_auth_kit.models.users import set_address

if TYPE_CHECKING:
    from ninja_auth_kit.models.sessions import UserSession

# The fields that say whether a session is valid, and those that a route may show. The others are
# read from the database when they are used: only this app uses them, and each datetime among them
# costs its conversion.
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
FIELDS_OF_LEVEL = (*FIELDS_OF_CHECK, "aal", "amr", "authenticated_at", "step_up_at")


def read_session(
    session_id: UUID, *, alias: str, with_email: bool = False, fields: tuple[str, ...] = ()
) -> "UserSession | None":
    """Return a session with its user loaded, or None if either does not exist.

    Args:
        session_id: the id of the session.
        alias: the alias of the database.
        with_email: whether to join the user's `EmailAddress` too, which costs about a third more.
        fields: the fields to read; by default all. The others are deferred.
    """
    query = _session_query(alias, with_email=with_email, fields=fields)
    for row in query.fetch(session_id_0=session_id):
        return _with_user(*row)
    return None


def read_sessions(
    session_ids: Sequence[UUID], *, alias: str, with_email: bool = False, fields: tuple[str, ...] = ()
) -> "list[Callable[[], UserSession] | None]":
    """Read several sessions with one query, and return for each a function that returns it, or None.

    Each call of a function makes new instances, so that two requests with the same session share none.

    Args:
        session_ids: the ids of the sessions; the same one may be among them several times.
        alias: as in `read_session`.
        with_email: as there.
        fields: as there.
    """
    ids = list(dict.fromkeys(session_ids))
    query = _session_query(alias, with_email=with_email, fields=fields, count=len(ids))
    rows = query.rows(**{f"session_id_{number}": session_id for number, session_id in enumerate(ids)})
    found = {row[0]: partial(_session_of, query, row) for row in rows}
    return [found.get(session_id) for session_id in session_ids]


def _session_of(query: CompiledQuery, row: Sequence[Any]) -> "UserSession":
    (instances,) = query.instances([row])
    return _with_user(*instances)


def _with_user(session: "UserSession", user: Any, *address: Any) -> "UserSession":
    session.user = user
    if address:
        set_address(user, address[0])
    return session


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _session_query(alias: str, *, with_email: bool, fields: tuple[str, ...], count: int = 1) -> CompiledQuery:
    model, user_model = _session_model(), get_user_model()
    # Through the user's default manager, as in Django's own get_user(): a user whom it hides cannot
    # use a session.
    ids = [Placeholder(f"session_id_{number}", model._meta.pk) for number in range(count)]
    users = user_model._default_manager.using(alias).filter(sessions__id__in=ids).order_by()  # type: ignore[misc]  # expressions
    columns = [ModelColumns(model, "sessions", fields=fields), ModelColumns(user_model)]
    if with_email:
        columns.append(ModelColumns(EmailAddress, "authkit_email"))
    return CompiledQuery(users, *columns)


@cache
def active_query(alias: str) -> CompiledQuery:
    """Return the query of the sessions of an `owner` that are marked active, valid or not, the oldest first."""
    model = _session_model()
    owner = Placeholder("owner", model._meta.get_field("user"))
    sessions = model.objects.using(alias).filter(user=owner, is_active=True).order_by("login_time", "pk")
    return CompiledQuery(sessions, ModelColumns(model))


def _session_model() -> Any:
    return apps.get_model("ninja_auth_kit", "UserSession")  # `sessions` imports this module


# One statement, so that a session never ends without its refresh token on the blacklist. The ORM
# needs three in a transaction, and takes 1.26 ms instead of 0.40 (measured as in `compiled_query`).
END = """
WITH ended AS (
    UPDATE {sessions} SET is_active = FALSE, logout_time = %(now)s, end_reason = %(reason)s
    -- A session that has ended is skipped, so exactly one of several callers ends a session and
    -- gets it back.
    WHERE is_active
        -- The sessions with these ids, or all.
        AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
        -- AND user_id = ..., if only the sessions of one user are wanted.
        {of_user}
        -- Except this one, if there is one.
        AND id IS DISTINCT FROM %(except_id)s::uuid
    RETURNING id, user_id, refresh_token
), blacklisted AS (
    INSERT INTO {blacklist} (token, blacklisted_at) SELECT refresh_token, %(now)s FROM ended
    -- An administrator of the database may have put the token on the blacklist.
    ON CONFLICT (token) DO NOTHING
)
SELECT id, user_id FROM ended
"""

# A login in one statement: end sessions, each for its reason, and store the one that takes the place of one of them.
START = """
WITH ended AS (
    UPDATE {sessions} AS stored SET is_active = FALSE, logout_time = %(now)s, end_reason = ending.reason
    FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS ending (id, reason)
    WHERE stored.id = ending.id AND stored.is_active
    RETURNING stored.id, stored.refresh_token
), blacklisted AS (
    INSERT INTO {blacklist} (token, blacklisted_at) SELECT refresh_token, %(now)s FROM ended
    ON CONFLICT (token) DO NOTHING
), started AS (
    INSERT INTO {sessions} ({columns}) SELECT {values}
    -- Counted first, so that the slot is free before the new session takes it.
    WHERE (SELECT count(*) FROM ended) >= 0
)
SELECT id FROM ended
"""

# The ORM takes 1.00 ms instead of 0.35.
ROTATE = """
UPDATE {sessions} SET
    generation = %(generation)s, refresh_token = %(refresh_token)s, refreshed_at = %(refreshed_at)s,
    refresh_expires_at = %(refresh_expires_at)s, auth_hash = %(auth_hash)s
-- Only if the row is as it was read, so exactly one of several callers rotates the token.
WHERE id = %(id)s AND is_active AND generation = %(read_generation)s AND refresh_token = %(read_refresh_token)s
    -- A change of the password may have moved the session to another auth_hash since it was read.
    AND auth_hash = %(read_auth_hash)s
    -- And only if the token has not been blacklisted.
    AND NOT EXISTS (SELECT FROM {blacklist} WHERE token = {sessions}.refresh_token)
"""


@cache
def with_tables(sql: str, **parts: str) -> str:
    """Return a statement of this module with the quoted names of the tables inserted.

    Args:
        sql: `END`, `START` or `ROTATE`.
        parts: what else to insert.
    """
    quote = connections[accounts_database()].ops.quote_name
    tables = {"sessions": "UserSession", "blacklist": "BlacklistedToken"}
    models = {name: apps.get_model("ninja_auth_kit", model) for name, model in tables.items()}
    return sql.format(**{name: quote(model._meta.db_table) for name, model in models.items()}, **parts)
