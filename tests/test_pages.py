"""The code of the documentation pages, run as written except for the addresses."""

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.test import RequestFactory

from ninja_auth_kit.audit.events.base import _by_type
from tests.conftest import events
from tests.consumer.conftest import URL, Producer, conninfo, message, producer, running, until
from tests.howto import PASSWORD, Project
from tests.servers import ROOT
from tests.test_example import database

__all__ = ["conninfo", "database", "producer"]  # fixtures


def block(page: str, text: str) -> str:
    """Return the Python code block of a page that contains a text."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [each for each in code if text in each]
    return str(found)


@pytest.mark.broker
def test_the_consumer_of_the_page_handles_an_event(producer: Producer, conninfo: str) -> None:
    code = block("consumers.md", "def install(")
    code = code.replace("amqp://guest:guest@127.0.0.1", URL)
    code = code.replace("postgresql://postgres@127.0.0.1/billing", conninfo)
    code = code.replace('queue="billing.auth-events"', f'queue="{producer.queue}", exchange="{producer.exchange}"')
    space: dict[str, Any] = {"__name__": "page"}
    with psycopg.connect(conninfo, autocommit=True) as database:
        try:
            exec(compile(code, "consumers.md", "exec"), space)  # noqa: S102
            space["install"]()
            with running(space["consumer"]):
                until(lambda: space["consumer"].is_consuming)
                producer.send(message())
                until(lambda: bool(database.execute("SELECT FROM notes").fetchall()))
            assert database.execute("SELECT * FROM notes").fetchall() == [("user/7", "session.login_failed", 1)]
        finally:
            database.execute("DROP TABLE IF EXISTS notes")


@pytest.mark.broker
def test_the_replay_of_the_page_prints_last_week(producer: Producer, capsys: Any) -> None:
    from datetime import UTC, datetime

    from ninja_auth_kit.audit.broker.stream import CATCH_ALL

    stream = f"{producer.name}.audit"
    producer.channel.queue_declare(stream, durable=True, arguments=CATCH_ALL)
    producer.channel.queue_bind(stream, producer.exchange, "#")
    producer.send(message(time=datetime.now(UTC).isoformat()))
    until(lambda: producer.depth(stream) == 1)
    code = block("consumers.md", "in replay(").replace('"amqp://guest:guest@127.0.0.1"', f'"{URL}", stream="{stream}"')

    exec(compile(code, "consumers.md", "exec"), {})  # noqa: S102

    assert "session.login_failed user/7" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_event_of_the_page_is_recorded(audited: None, user: Any, rf: RequestFactory) -> None:
    request = rf.post("/")
    request.user = user
    space: dict[str, Any] = {"__name__": "page"}
    code = block("audit.md", "def approve(").replace('"order.approved"', '"order.shown"')
    try:
        exec(compile(code, "audit.md", "exec"), space)  # noqa: S102
        space["approve"](request, SimpleNamespace(pk=7))
        (recorded,) = events()
        assert recorded["type"] == "shop.order.shown.v1"
    finally:
        _by_type.pop("shop.order.shown.v1", None)


EXTENDED = """
NINJA_AUTH_KIT = {
    "REGISTRATION_SCHEMA": "accounts.schemas.Registration",
    "PROFILE_SCHEMA": "accounts.schemas.Profile",
    "USER_SCHEMA": "accounts.schemas.Me",
    "ACCESS_TOKEN_CLAIMS": "accounts.claims.claims",
}
"""
ROUTES = """
from django.contrib.auth import get_user_model
from django.urls import path
from ninja_auth_kit import JWTAuth
import accounts.logins, accounts.receivers

@api.get("/claims", auth=JWTAuth())
def claims(request):
    return request.auth_claims.extra

@api.post("/start")
def start(request, name: str):
    return {"token": tokens_for(request, get_user_model().objects.get(username=name)).access_token}

urlpatterns = [path("api/", api.urls)]
"""


@pytest.mark.one_user_model
@pytest.mark.django_db(transaction=True)
def test_the_code_for_extending_the_kit_works_together_in_a_new_project(tmp_path: Path, database: str) -> None:
    extending = partial(block, "extending.md")
    project = Project(tmp_path, database)
    project.settings(EXTENDED)
    modules = {"schemas": "class Registration", "claims": "def claims(", "receivers": "def reject_bots("}
    project.app(
        "accounts",
        **{name: extending(text) for name, text in modules.items()},
        logins=block("signals.md", "import signals"),
    )
    project.write("mysite/urls.py", "\n".join((extending("install(api"), extending("def tokens_for("), ROUTES)))
    project.manage("migrate", "--verbosity", "0")
    project.serve()

    project.sign_up("ada@example.com", username="ada", first_name="Ada")
    status, said = project.post(
        "register", email="bot@example.com", username="bot7", first_name="Bot", password=PASSWORD
    )
    assert (status, said["errors"][0]["code"]) == (422, "no_bots")
    token = project.login("ada@example.com")["access_token"]
    assert project.call("GET", "/api/claims", token=token) == (200, {"name": "Ada"})
    assert project.call("PATCH", "/api/auth/me", {"first_name": "Augusta"}, token=token)[1]["first_name"] == "Augusta"
    started = project.call("POST", "/api/start?name=ada")[1]["token"]
    assert project.call("GET", "/api/claims", token=started) == (200, {"name": "Augusta"})
    assert project.call("GET", "/api/claims", token=token)[1]["code"] == "session_ended"
    assert "ada logged in from 127.0.0.1" in project.stop()
