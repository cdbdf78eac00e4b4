"""How a session starts, moves on and ends, each in one statement of raw SQL: they run in every login and refresh."""

from functools import cache

from django.apps import apps
from django.db import connections

from ninja_auth_kit.models.primary import database

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
    quote = connections[database()].ops.quote_name
    tables = {"sessions": "UserSession", "blacklist": "BlacklistedToken"}
    models = {name: apps.get_model("ninja_auth_kit", model) for name, model in tables.items()}
    return sql.format(**{name: quote(model._meta.db_table) for name, model in models.items()}, **parts)
