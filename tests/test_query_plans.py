"""The plans of a request's statements with a million users: index scans, never sequential ones."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from benchmarks.peers import crowds
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crowd]

ROWS = int(os.environ.get("CROWD", "1000000"))
CROWDED = {
    "auth_user",
    "ninja_auth_kit_emailaddress",
    "ninja_auth_kit_usersession",
    "ninja_auth_kit_blacklistedtoken",
    "ninja_auth_kit_onetimetoken",
    "ninja_auth_kit_throttlebucket",
}
EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(")

Statement = tuple[str, Any]


@pytest.fixture
def crowd(user: Any, audited: None, settings: Any) -> None:
    settings.NINJA_AUTH_KIT = {key: value for key, value in settings.NINJA_AUTH_KIT.items() if key != "THROTTLES"}
    with connection.cursor() as cursor:
        for statement in (*crowds.statements("kit", ROWS), "ANALYZE"):
            cursor.execute(statement)


@contextmanager
def sent() -> Iterator[list[Statement]]:
    """Yield a list to which the statements are added when they are sent."""
    statements: list[Statement] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        statements.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        yield statements


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all its descendants."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def whole_reads(statement: Statement) -> list[str]:
    """Return the large tables that a statement would scan completely."""
    sql, parameters = statement
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        ((found,),) = cursor.fetchall()
    (root,) = json.loads(found) if isinstance(found, str) else found
    reads = [node for node in nodes(root["Plan"]) if node["Node Type"] == "Seq Scan"]
    return [node["Relation Name"] for node in reads if node["Relation Name"] in CROWDED]


def walk(api: Api, user: Any) -> dict[str, Callable[[], Any]]:
    """Return the requests in order, each named with the status code that it must have."""
    tokens = issue_tokens(user)
    access, used = tokens.access_token, tokens.refresh_token
    change = {"current_password": PASSWORD, "new_password": "another long walk in the hills"}
    return {
        "GET 200": lambda: api.get("me", token=access),
        "sessions 200": lambda: api.get("sessions", token=access),
        "refresh 200": lambda: api.post("refresh", {"refresh_token": used}),
        "refresh in grace 200": lambda: api.post("refresh", {"refresh_token": used}),
        "refresh refused 401": lambda: api.post("refresh", {"refresh_token": "garbage"}),
        "password refused 401": lambda: api.login(password="wrong"),
        "nobody 401": lambda: api.login("nobody@example.com"),
        "register 202": lambda: api.register("new@example.com"),
        "register, taken 202": lambda: api.register(EMAIL, username="new_name"),
        "verify 200": lambda: api.post("verify-email", {"token": mailed_token(-2), "password": PASSWORD}),
        "resend 202": lambda: api.post("verify-email/resend", {"email": EMAIL}),
        "reset 202": lambda: api.post("password/reset", {"email": EMAIL}),
        "change 204": lambda: api.post("password/change", change, token=access),
        "login 200": lambda: api.login(password=change["new_password"]),
        "logout 204": lambda: api.post("logout", {"refresh_token": used}),
        "a second login 200": lambda: api.login(password=change["new_password"]),
        "login that replaces 200": lambda: api.login(password=change["new_password"]),
    }


def test_no_request_and_no_pruning_reads_a_whole_table(api: Api, user: Any, crowd: None) -> None:
    for name, request in walk(api, user).items():
        with sent() as statements:
            answer = request()
        assert str(answer.status_code) == name[-3:], (name, answer.content)
        plans = [(sql, whole_reads((sql, given))) for sql, given in statements if sql.strip().startswith(EXPLAINED)]

        assert plans or name == "refresh refused 401"
        assert [(name, sql, tables) for sql, tables in plans if tables] == []

    with sent() as statements:
        call_command("authkit_prune", "--keep", "0", verbosity=0)
    assert statements
    assert [(sql, tables) for sql, given in statements if (tables := whole_reads((sql, given)))] == []
