"""SQL that fills the tables of a contender with many users and their past sessions.

One user in ten expired long ago. PostgreSQL generates the rows itself: a million takes about a
minute.
"""

USERS = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
    date_joined)
SELECT 'md5$salt$' || md5(i::text), FALSE, 'user' || i, '', '', 'user' || i || '@example.com', FALSE, TRUE, now()
FROM generate_series(1, {rows}) AS i
"""
# The number and key of each user, whether the session is old, when it began, and a substitute for a
# digest.
_EACH = """
(
    SELECT i, user_id, i % 10 = 0 AS is_old, md5('a' || i) || md5('b' || i) AS digest,
        now() - CASE WHEN i % 10 = 0 THEN interval '100 days' ELSE i % 5000 * interval '1 minute' END AS began
    FROM (SELECT id AS user_id, substr(username, 5)::int AS i FROM auth_user WHERE username LIKE 'user%') AS numbered
) AS each
"""

_KIT = (
    f"""
INSERT INTO ninja_auth_kit_emailaddress (user_id, email, canonical, verified_at)
SELECT user_id, 'user' || i || '@example.com', 'user' || i || '@example.com', began FROM {_EACH}
""",
    f"""
INSERT INTO ninja_auth_kit_usersession (id, user_id, login_time, is_active, logout_time, end_reason, slot,
    refresh_token, generation, refreshed_at, refresh_expires_at, expires_at, auth_hash, ip_address, user_agent)
SELECT gen_random_uuid(), user_id, began, NOT is_old, CASE WHEN is_old THEN began END,
    CASE WHEN is_old THEN 'logout' ELSE '' END, 0, 'v1$00000000$' || digest, 3, began, began + interval '7 days',
    began + interval '30 days', 'v1$00000000$' || digest, '192.0.2.7', 'Mozilla/5.0 (X11; Linux x86_64)'
FROM {_EACH}
""",
    f"""
INSERT INTO ninja_auth_kit_blacklistedtoken (token, blacklisted_at)
SELECT 'v1$00000000$' || md5(digest) || md5(digest || 'b'), began FROM {_EACH}
""",
    f"""
INSERT INTO ninja_auth_kit_onetimetoken (purpose, user_id, email, digest, auth_hash, expires_at)
SELECT 'reset_password', user_id, 'user' || i || '@example.com', 'v1$00000000$' || digest, 'v1$00000000$' || digest,
    now() + interval '1 hour'
FROM {_EACH} WHERE i % 10 = 0
""",
    f"""
INSERT INTO ninja_auth_kit_throttlebucket (id, rule, hits, allowed, resets_at, announced)
SELECT gen_random_uuid(), 'login_account', 1, 10, now() + interval '1 hour', FALSE FROM {_EACH} WHERE i % 10 = 0
""",
)


_LIMIT = (
    f"""
INSERT INTO session (id, user_id, digest, is_active, expires_at)
SELECT gen_random_uuid(), user_id, digest, NOT is_old, began + interval '30 days' FROM {_EACH}
""",
    f"INSERT INTO blacklist (digest, at) SELECT md5(digest) || md5(digest || 'b'), began FROM {_EACH}",
)

# simplejwt and ninja-jwt: a refresh token that was used, and its successor.
_OUTSTANDING = """
INSERT INTO token_blacklist_outstandingtoken (user_id, jti, token, created_at, expires_at)
SELECT user_id, md5('{kind}' || digest), repeat(digest, 4), began, began + interval '7 days' FROM {each}
"""
_JWT = (
    _OUTSTANDING.format(kind="used", each=_EACH),
    """
INSERT INTO token_blacklist_blacklistedtoken (token_id, blacklisted_at)
SELECT id, created_at FROM token_blacklist_outstandingtoken ON CONFLICT DO NOTHING
""",
    _OUTSTANDING.format(kind="current", each=_EACH),
)

_ALLAUTH = (
    f"""
INSERT INTO account_emailaddress (user_id, email, verified, "primary")
SELECT user_id, 'user' || i || '@example.com', TRUE, TRUE FROM {_EACH}
""",
    f"""
INSERT INTO django_session (session_key, session_data, expire_date)
SELECT md5(digest), repeat(digest, 5), began + interval '14 days' FROM {_EACH}
""",
)

_KNOX = (
    f"""
INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry)
SELECT digest || digest, substr(digest, 1, 15), user_id, began, began + interval '10 days' FROM {_EACH}
""",
)

BESIDE = {
    "limit": _LIMIT,
    "kit": _KIT,
    "ninja-jwt": _JWT,
    "simplejwt": _JWT,
    "allauth-jwt": _ALLAUTH,
    "knox": _KNOX,
}
"""The rows beside a contender's users, by its name."""


def statements(name: str, rows: int) -> list[str]:
    """Return the statements that fill the tables of a contender."""
    return [USERS.format(rows=rows), *BESIDE[name]]
