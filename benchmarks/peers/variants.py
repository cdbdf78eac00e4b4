"""What is measured behind ASGI servers: an operation of a contender, in an async or a sync view."""

from dataclasses import dataclass, replace

from benchmarks.peers.contender import EMAIL, USERNAME, Request

FLOOR = "floor"
MOST_CONNECTIONS = 64


@dataclass(frozen=True)
class Variant:
    """An operation of a contender.

    Attributes:
        contender: its name.
        operation: "get", "refresh" or "login".
        title: the name in the tables.
        path: the path of the view, if the contender has several.
        checks: whether the view accepts the token of a valid session only.
        first_user: the number of the first of its users. No other variant logs in as these.
    """

    contender: str
    operation: str
    title: str
    path: str = ""
    checks: bool = False
    first_user: int = 0


_VARIANTS = {
    FLOOR: Variant("asgi-floor", "get", "floor: a bare Ninja view, async"),
    "floor-sync": Variant("asgi-floor", "get", "a bare Ninja view, sync", "/api/who/sync"),
    "kit": Variant("asgi-kit", "get", "ninja_auth_kit, async view", checks=True),
    "kit-sync": Variant("asgi-kit", "get", "ninja_auth_kit, sync view", "/api/who/sync", checks=True),
    "kit-stateless": Variant("asgi-kit", "get", "ninja_auth_kit, stateless, async view", "/api/stateless"),
    "kit-stateless-sync": Variant("asgi-kit", "get", "ninja_auth_kit, stateless, sync view", "/api/stateless/sync"),
    "ninja-jwt": Variant("asgi-ninja-jwt", "get", "django-ninja-jwt, async view", "/api/async/who"),
    "allauth-jwt": Variant("allauth-jwt", "get", "allauth headless, JWT, sync view"),
    "allauth-jwt-stateful": Variant(
        "allauth-jwt-stateful", "get", "allauth headless, JWT, stateful, sync view", checks=True
    ),
    "fastapi-users": Variant("fastapi-users", "get", "fastapi-users, JWT"),
    "fastapi-users-database": Variant("fastapi-users-database", "get", "fastapi-users, database tokens", checks=True),
    "kit-refresh": Variant("asgi-kit", "refresh", "ninja_auth_kit"),
    "ninja-jwt-refresh": Variant("asgi-ninja-jwt", "refresh", "django-ninja-jwt"),
    "allauth-jwt-refresh": Variant("allauth-jwt", "refresh", "allauth headless, JWT"),
    "kit-login": Variant("asgi-kit", "login", "ninja_auth_kit"),
    "ninja-jwt-login": Variant("asgi-ninja-jwt", "login", "django-ninja-jwt"),
    "allauth-jwt-login": Variant("allauth-jwt", "login", "allauth headless, JWT"),
    "fastapi-users-login": Variant("fastapi-users", "login", "fastapi-users, JWT"),
}
VARIANTS = {
    name: replace(variant, first_user=number * MOST_CONNECTIONS)
    for number, (name, variant) in enumerate(_VARIANTS.items())
}
USERS = len(VARIANTS) * MOST_CONNECTIONS

_COPIES = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
    date_joined)
SELECT password, FALSE, username || i, '', '', replace(email, '@', i || '@'), FALSE, TRUE, now()
FROM auth_user, generate_series(0, {last}) AS i WHERE username = 'ada'
"""
_KIT_ADDRESSES = """
INSERT INTO ninja_auth_kit_emailaddress (user_id, email, canonical, verified_at)
SELECT id, email, email, now() FROM auth_user ON CONFLICT DO NOTHING
"""
_ALLAUTH_ADDRESSES = """
INSERT INTO account_emailaddress (user_id, email, verified, "primary")
SELECT id, email, TRUE, TRUE FROM auth_user WHERE username <> 'ada'
"""
_FASTAPI_COPIES = """
INSERT INTO "user" (email, hashed_password, is_active, is_superuser, is_verified)
SELECT replace(email, '@', i || '@'), hashed_password, TRUE, FALSE, TRUE FROM "user", generate_series(0, {last}) AS i
"""
_STATEMENTS = {
    "asgi-kit": (_COPIES, _KIT_ADDRESSES),
    "asgi-ninja-jwt": (_COPIES,),
    "allauth-jwt": (_COPIES, _ALLAUTH_ADDRESSES),
    "allauth-jwt-stateful": (_COPIES, _ALLAUTH_ADDRESSES),
    "fastapi-users": (_FASTAPI_COPIES,),
    "fastapi-users-database": (_FASTAPI_COPIES,),
}


def copies_of_the_user(contender: str) -> list[str]:
    """Return the statements that copy the user of a contender as often as the variants need."""
    return [one.format(last=USERS - 1) for one in _STATEMENTS.get(contender, ())]


def as_user(request: Request, number: int) -> Request:
    """Return the request of a login as that copy of the user."""
    if not isinstance(request.body, dict):
        return request
    names = {EMAIL: EMAIL.replace("@", f"{number}@"), USERNAME: f"{USERNAME}{number}"}
    return replace(request, body={key: names.get(value, value) for key, value in request.body.items()})
