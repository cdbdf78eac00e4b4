"""The lower bound (a bare Ninja view) and the limit (hand-written SQL, without a package).

The limit makes the same promises as the kit, with as few statements as they need.
"""

import hashlib
import secrets
import time
import uuid
from typing import Any

from benchmarks.peers.contender import PASSWORD, USERNAME, Contender, Request, Tokens

KEY = b"of the limit, 0123456789abcdefghijklmnopqrstuvwxyz"
TABLES = """
CREATE TABLE session (
    id uuid PRIMARY KEY, user_id int NOT NULL REFERENCES auth_user, digest text NOT NULL, is_active bool NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX ON session (user_id) WHERE is_active;
CREATE INDEX ON session (expires_at);
CREATE TABLE blacklist (digest text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON blacklist (at);
"""
CHECK = """
SELECT u.id, u.username, u.email, u.is_staff FROM session s JOIN auth_user u ON u.id = s.user_id
WHERE s.id = %s AND s.is_active AND s.expires_at > now() AND u.is_active
"""
REFRESH = """
WITH rotated AS (
    UPDATE session SET digest = %s FROM auth_user u
    WHERE session.digest = %s AND session.id = %s AND session.is_active AND u.id = user_id AND u.is_active
    RETURNING user_id
), listed AS (INSERT INTO blacklist (digest) SELECT %s FROM rotated)
SELECT user_id FROM rotated
"""
LOGOUT = """
WITH ended AS (UPDATE session SET is_active = false WHERE id = %s AND digest = %s AND is_active RETURNING digest)
INSERT INTO blacklist (digest) SELECT digest FROM ended
"""
LOGIN = """
WITH ended AS (UPDATE session SET is_active = false WHERE user_id = %(user)s AND is_active RETURNING digest),
listed AS (INSERT INTO blacklist (digest) SELECT digest FROM ended),
seen AS (UPDATE auth_user SET last_login = now() WHERE id = %(user)s)
INSERT INTO session SELECT %(id)s, %(user)s, %(digest)s, true, now() + interval '30 days'
WHERE (SELECT count(*) FROM ended) >= 0
"""
PURGE = (
    "DELETE FROM session WHERE expires_at < now()",
    "DELETE FROM blacklist WHERE at < now() - interval '30 days'",
)


class Floor(Contender):
    """A view without authentication."""

    title = "floor: a bare Ninja view"
    statements = {"get": (0, 0), "login": (0, 0)}

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from ninja import NinjaAPI

        api = NinjaAPI(docs_url=None, openapi_url=None)
        api.get("/who")(lambda request: {"who": USERNAME})
        return [path("api/", api.urls)]

    def login(self) -> Request:
        return Request("GET", "/api/who")

    def tokens(self, answer: Any) -> Tokens:
        return Tokens("")


class Limit(Contender):
    """Hand-written raw SQL that checks the session."""

    title = "limit: by hand, raw SQL"
    statements = {"get": (1, 0), "refresh": (1, 0), "logout": (1, 0), "login": (2, 0)}
    purge_command = "by hand"
    checks = True

    def prepare(self) -> None:
        from django.db import connection

        super().prepare()
        with connection.cursor() as cursor:
            cursor.execute(TABLES)

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from ninja import NinjaAPI, Schema

        api = NinjaAPI(docs_url=None, openapi_url=None)

        class Credentials(Schema):
            username: str
            password: str

        class Refresh(Schema):
            refresh: str

        api.get("/who", auth=_guard(checks=self.checks))(lambda request: {"who": request.auth[1]})
        api.post("/login")(_typed(_login, Credentials))
        api.post("/refresh")(_typed(_refresh, Refresh))
        api.post("/logout", response={204: None})(_typed(_logout, Refresh))
        return [path("api/", api.urls)]

    def login(self) -> Request:
        return Request("POST", "/api/login", {"username": USERNAME, "password": PASSWORD})

    def purge(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            for statement in PURGE:
                cursor.execute(statement)

    def refresh(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/refresh", {"refresh": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/logout", {"refresh": tokens.refresh})


class Stateless(Limit):
    """Hand-written code that verifies only the signature of the access token."""

    title = "limit, stateless"
    statements = {**Limit.statements, "get": (0, 0)}
    checks = False


def _typed(view: Any, schema: Any) -> Any:
    def typed(request: Any, body: Any) -> Any:
        return view(body)

    typed.__annotations__ = {"body": schema}
    return typed


def _guard(*, checks: bool) -> Any:
    import jwt
    from django.db import connection
    from ninja.security import HttpBearer

    class Guard(HttpBearer):
        def authenticate(self, request: Any, token: str) -> Any:
            claims = jwt.decode(token, KEY, ["HS256"], audience="limit", issuer="limit")
            if not checks:
                return claims["sid"], claims["sub"]
            with connection.cursor() as cursor:
                cursor.execute(CHECK, [claims["sid"]])
                return cursor.fetchone()

    return Guard()


def _login(body: Any) -> Any:
    from django.contrib.auth.hashers import check_password
    from django.db import connection
    from ninja.errors import HttpError

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, password FROM auth_user WHERE username = %s AND is_active", [body.username])
        row = cursor.fetchone()
        if row is None or not check_password(body.password, row[1]):
            raise HttpError(401, "no")
        session, refresh = uuid.uuid4(), secrets.token_urlsafe(32)
        cursor.execute(LOGIN, {"user": row[0], "id": session, "digest": _digest(refresh)})
    return _pair(row[0], session, refresh)


def _refresh(body: Any) -> Any:
    from django.db import connection
    from ninja.errors import HttpError

    session, _, secret = body.refresh.partition(".")
    successor, digest = secrets.token_urlsafe(32), _digest(secret)
    with connection.cursor() as cursor:
        cursor.execute(REFRESH, [_digest(successor), digest, session, digest])
        row = cursor.fetchone()
    if row is None:
        raise HttpError(401, "no")
    return _pair(row[0], session, successor)


def _logout(body: Any) -> Any:
    from django.db import connection
    from ninja import Status

    session, _, secret = body.refresh.partition(".")
    with connection.cursor() as cursor:
        cursor.execute(LOGOUT, [session, _digest(secret)])
    return Status(204, None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _pair(user: int, session: Any, refresh: str) -> dict[str, str]:
    import jwt

    now = int(time.time())
    claims = {"iss": "limit", "aud": "limit", "sub": str(user), "sid": str(session), "jti": uuid.uuid4().hex}
    access = jwt.encode({**claims, "iat": now, "exp": now + 300}, KEY, "HS256")
    return {"access": access, "refresh": f"{session}.{refresh}"}
