"""Common fixtures: a JSON client, users, emails, recorded events, settings and real servers."""

import importlib
import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import path
from django.utils import timezone
from ninja import NinjaAPI
from pytest_django import Settings

import ninja_auth_kit
from ninja_auth_kit import emails
from ninja_auth_kit.api import routes
from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.audit.record.aggregation import RECORDED_INDIVIDUALLY
from ninja_auth_kit.levels import Authentication
from ninja_auth_kit.models import AuditFlood, AuditOutbox, EmailAddress
from ninja_auth_kit.models.email_addresses import canonical_email
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.tokens import issue_access_token
from tests.security_report import SecurityReport
from tests.servers import Server
from tests.urls import urlpatterns

PASSWORD = "correct horse battery staple"

# As a login with a password issues it.
new_access_token = partial(issue_access_token, authentication=Authentication("aal1", ("pwd",), 1_700_000_000))
EMAIL = "ada@example.com"


def users_have_names() -> bool:
    """Return whether users have a unique username. They may log in with it or, as `Member`, only with the address."""
    return any(field.name == "username" for field in get_user_model()._meta.concrete_fields)


def registered_name(name: str) -> dict[str, Any]:
    """Return the arguments by which `services.register` gets a username, if users have one."""
    if has_username():
        return {"username": name}
    return {"fields": {"username": name}} if users_have_names() else {}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End connections that are left when the test database is deleted: a browser or a server may be slow to end."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    connection.close()


@pytest.fixture(scope="session", autouse=True)
def _no_thread_for_promised_emails() -> None:
    """Refuse a request at the time of collection, which starts a thread that uses the database of any later test."""
    assert "ninja_auth_kit-promised-emails" not in [thread.name for thread in threading.enumerate()]


class Api:
    """A JSON client of one mount of the kit."""

    def __init__(self, base: str = "/api/auth/", **defaults: Any) -> None:
        self.client = Client(raise_request_exception=False, **defaults)
        self.base = base

    def __call__(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: Any) -> Any:
        if token is not None:
            headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        url = path if path.startswith("/") else self.base + path
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        return self.client.generic(method, url, data, **headers)

    def get(self, path: str, **kwargs: Any) -> Any:
        return self("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self("PATCH", path, body, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Any:
        return self("DELETE", path, **kwargs)

    def register(
        self, email: str = EMAIL, password: str = PASSWORD, username: str | None = None, **fields: Any
    ) -> Any:
        """Register, with a username derived from the address if the user model has one."""
        body = {"email": email, "password": password, **fields}
        if users_have_names():
            body["username"] = username or re.sub(r"\W", "_", email)
        return self.post("register", body)

    def login(self, email: str = EMAIL, password: str = PASSWORD, **headers: Any) -> Any:
        return self.post("login", {"email": email, "password": password}, **headers)

    def pair(self, email: str = EMAIL, password: str = PASSWORD) -> dict[str, Any]:
        """Log in and return the token pair."""
        response = self.login(email, password)
        assert response.status_code == 200, response.content
        return dict(response.json())

    def is_in(self, token: str) -> bool:
        """Return whether an access token is accepted."""
        return bool(self.get("me", token=token).status_code == 200)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def make_user() -> Callable[..., Any]:
    """Return a function that creates users, by default verified and with the usual password."""

    def make(email: str = EMAIL, password: str | None = PASSWORD, *, verified: bool = True, **fields: Any) -> Any:
        model = get_user_model()
        if users_have_names():
            fields.setdefault("username", re.sub(r"\W", "_", email))
        user = model(email=email, **fields)
        if password is None:
            user.set_unusable_password()
        else:
            user.set_password(password)
        user.save()
        now = timezone.now()
        EmailAddress.objects.create(
            user=user, email=email, canonical=canonical_email(email), verified_at=now if verified else None
        )
        return user

    return make


@pytest.fixture
def user(make_user: Callable[..., Any]) -> Any:
    return make_user()


def mailed_token(index: int = -1) -> str:
    """Return the token of an email."""
    match = re.search(r"#token=(\S+)", str(mail.outbox[index].body))
    assert match is not None, mail.outbox[index].body
    return match[1]


def events() -> list[dict[str, Any]]:
    """Return the audit events in the outbox, in order."""
    return [json.loads(row.payload) for row in AuditOutbox.objects.order_by("id")]


def event_names() -> list[str]:
    """Return the names of the events in the outbox, without the common prefix and version."""
    return [event["type"].removeprefix("ninja-auth-kit.").removesuffix(".v1") for event in events()]


def recorded(outcome: str) -> int:
    """Return how many actions had this outcome, including those that a flood only counts."""
    floods = AuditFlood.objects.filter(routing_key__endswith=f".{outcome}", seen__gt=RECORDED_INDIVIDUALLY)
    announced = [event for event in events() if event["data"]["outcome"] == outcome]
    return len(announced) + sum(flood.seen - RECORDED_INDIVIDUALLY for flood in floods)


@pytest.fixture
def audited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable the outbox: configure a broker, without running a relay."""
    settings.RABBITMQ_HOST = "127.0.0.1"
    monkeypatch.setattr(outbox, "_written", 0)


@pytest.fixture
def kit(settings: Settings) -> Callable[..., None]:
    """Return a function that changes single keys of NINJA_AUTH_KIT."""

    def change(**keys: Any) -> None:
        settings.NINJA_AUTH_KIT = {**settings.NINJA_AUTH_KIT, **keys}

    return change


@pytest.fixture
def outside_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the kit run as outside of a test run."""
    monkeypatch.delattr(mail, "outbox")


@pytest.fixture
def host_api(kit: Callable[..., None], settings: Settings) -> Iterator[Callable[..., Api]]:
    """Return a function that builds the kit's API as a process with these settings would."""
    before, namespaces = settings.NINJA_AUTH_KIT, list(emails.page_namespaces)

    def reload() -> None:
        for module in (*routes.FEATURES, routes):
            importlib.reload(module)

    def build(**keys: Any) -> Api:
        kit(**keys)
        reload()
        api = NinjaAPI(urls_namespace=f"started-{uuid.uuid4()}")
        ninja_auth_kit.install(api, "")
        urlconf = ModuleType("started_urls")
        urlconf.urlpatterns = [path("api/auth/", api.urls), *urlpatterns]  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = urlconf
        return Api()

    yield build
    settings.NINJA_AUTH_KIT, emails.page_namespaces[:] = before, namespaces
    reload()


@pytest.fixture
def servers(transactional_db: None) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server on the test database; all are stopped at the end."""
    started: list[Server] = []

    def start(kind: type[Server] = Server, **settings: Any) -> Server:
        server = kind(**settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


def pytest_configure(config: pytest.Config) -> None:
    """With `-m security`, report the proved requirements at the end."""
    if "security" in config.option.markexpr and not config.option.collectonly:
        config.pluginmanager.register(SecurityReport())


BROKER_MISSING = "RabbitMQ was not found. Start it on 127.0.0.1:5672, or set RABBITMQ_HOST."


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the broker tests with a reason if there is no broker. In CI they fail instead."""
    if os.environ.get("RABBITMQ_HOST") or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("broker"):
            item.add_marker(pytest.mark.skip(reason=BROKER_MISSING))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Succeed if none of the chosen tests is in the pass that `-m` selects. tox runs several passes."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.option.markexpr:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Report prominently how many tests were skipped for lack of a broker."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "RabbitMQ" in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"!!! {len(skipped)} tests were skipped: {BROKER_MISSING}", red=True, bold=True)
