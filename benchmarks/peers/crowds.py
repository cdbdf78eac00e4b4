"""A crowd: so many users beside the one who is measured, each with a session and a withdrawn token.

Every tenth of them expired long ago. PostgreSQL makes the rows by itself, a million in about a minute.
"""

USERS = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
    date_joined)
SELECT 'md5$salt$' || md5(i::text), FALSE, 'user' || i, '', '', 'user' || i || '@example.com', FALSE, TRUE, now()
FROM generate_series(1, {rows}) AS i
"""
# A user's number and key, whether the session is an old one, when it began, and what stands for a digest.
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


def of_the_kit(rows: int) -> list[str]:
    """Return the statements that make a crowd of this kit's users; an address each, and a counter for every tenth."""
    return [USERS.format(rows=rows), *_KIT]
