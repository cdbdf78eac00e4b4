"""`CONNECTION_STATE`: emails and audit events see the rows that the request sees, with row-level security."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.connection_state import background_connection, connection_state
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.services import promised_emails
from tests.audit.conftest import Consumer, consumer, exchange  # noqa: F401  # fixtures
from tests.conftest import EMAIL, PASSWORD, Api
from tests.smtp import SMTPServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

# Not the tables of counters: two companies count in one row.
PROTECTED = ("auth_user", "ninja_auth_kit_promisedemail", "ninja_auth_kit_auditoutbox")

# The company of the request. "*" is the kit itself, outside of requests.
company: ContextVar[str] = ContextVar("company", default="*")


def set_company(connection: Any, name: str, *, local: bool = False) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.company', %s, %s)", [name, local])


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Set the company of each request on its connection, as a project with row-level security does."""

    def handle(request: HttpRequest) -> HttpResponse:
        token = company.set(request.headers.get("X-Company", ""))
        try:
            set_company(connection, company.get())
            return get_response(request)
        finally:
            company.reset(token)

    return handle


def state_of_request(connection: Any) -> Callable[[Any], None]:
    """Remember the variable of the project."""
    name = company.get()
    return lambda other: set_company(other, name)


def state_of_connection(connection: Any) -> Callable[[Any], None]:
    """Ask the connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('app.company', true)")
        name = cursor.fetchone()[0]
    return lambda other: set_company(other, name or "*")


def role_of_connection(connection: Any) -> Callable[[Any], None]:
    """Remember the role of a project that has one for each request."""
    role = current_user()

    def restore(other: Any) -> None:
        with other.cursor() as cursor:
            cursor.execute(f'SET ROLE "{role}"')

    return restore


def current_user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


def no_state(connection: Any) -> None:
    """Carry nothing over."""


def wrong_state(connection: Any) -> str:
    """Return what cannot be called."""
    return "the password of the database"


HOOKS = [f"{__name__}.{hook.__name__}" for hook in (state_of_request, state_of_connection)]


@contextmanager
def as_owner() -> Iterator[Any]:
    """Run statements without row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE NONE")
        yield cursor
        cursor.execute("RESET ROLE")


@pytest.fixture
def protected(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each company see its own rows only, in the table of the users and in two of the kit."""
    role = f"authkit_{connection.settings_dict['NAME']}"[:63]
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{role}" NOLOGIN')
        cursor.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
        cursor.execute(f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
        for table in PROTECTED:
            cursor.execute(
                f"ALTER TABLE {table} ADD COLUMN company text DEFAULT current_setting('app.company', true), "
                "ENABLE ROW LEVEL SECURITY"
            )
            seen = "current_setting('app.company', true) IN (company, '*')"
            cursor.execute(f"CREATE POLICY by_company ON {table} USING ({seen})")
    connection.close()
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c role={role}"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    settings.MIDDLEWARE = [f"{__name__}.middleware"]
    yield
    emails.flush()
    connection.close()
    monkeypatch.undo()
    with connection.cursor() as cursor:
        for table in PROTECTED:
            cursor.execute(f"DROP POLICY by_company ON {table}")
            cursor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, DROP COLUMN company")
        cursor.execute(f'DROP OWNED BY "{role}"')
        cursor.execute(f'DROP ROLE "{role}"')


@pytest.fixture
def smtp(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[SMTPServer]:
    """Send emails in threads, as outside of a test run."""
    monkeypatch.delattr(mail, "outbox")
    server = SMTPServer()
    server.use(settings)
    yield server
    server.stop()


def register(api: Api) -> Any:
    """Register at one company."""
    body = {"email": EMAIL, "password": PASSWORD, "username": "ada"}
    return api.post("register", body, HTTP_X_COMPANY="acme")


def companies_of(table: str) -> list[str]:
    with as_owner() as cursor:
        cursor.execute(f"SELECT company FROM {table}")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.usefixtures("protected")
def test_an_email_is_sent_for_the_company_of_its_request(
    api: Api, smtp: SMTPServer, kit: Callable[..., None], hook: str
) -> None:
    kit(CONNECTION_STATE=hook)
    assert register(api).status_code == 202
    assert companies_of("ninja_auth_kit_promisedemail") == ["acme"]
    assert emails.flush()
    assert smtp.recipients == [EMAIL]
    assert companies_of("ninja_auth_kit_promisedemail") == []


@pytest.mark.usefixtures("protected")
def test_without_the_state_no_email_is_sent(api: Api, smtp: SMTPServer) -> None:
    assert register(api).status_code == 202
    assert emails.flush()
    assert smtp.recipients == []
    assert companies_of("ninja_auth_kit_promisedemail") == ["acme"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.usefixtures("protected", "audited")
def test_a_fact_is_recorded_for_the_company_of_its_request(
    api: Api, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    kit(CONNECTION_STATE=hook)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert api.login(HTTP_X_COMPANY="acme").status_code == 401
    assert companies_of("ninja_auth_kit_auditoutbox") == ["acme"]


@pytest.mark.usefixtures("protected")
def test_emails_left_behind_are_sent_with_the_state_outside_of_requests(
    api: Api, smtp: SMTPServer, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(CONNECTION_STATE=HOOKS[0])
    monkeypatch.setattr("ninja_auth_kit.emails.background._start", lambda run: None)
    assert register(api).status_code == 202
    with as_owner():
        PromisedEmail.objects.update(due_at="2020-01-01T00:00:00Z")
    assert promised_emails.send_due_and_log(threading.Event())
    assert smtp.recipients == [EMAIL]


@pytest.mark.broker
@pytest.mark.usefixtures("protected")
def test_the_relay_publishes_with_the_state_outside_of_requests(
    api: Api,
    consumer: Consumer,  # noqa: F811
    kit: Callable[..., None],
) -> None:
    kit(CONNECTION_STATE=HOOKS[0])
    for name in ("acme", "initech"):
        assert api.login(HTTP_X_COMPANY=name).status_code == 401
    connection.close()
    assert configured_relay(using="default").drain() == 2
    assert {event["data"]["outcome"] for event in consumer.events(2)} == {"failure"}


def test_what_is_set_for_a_transaction_is_carried_over_its_commit(kit: Callable[..., None], smtp: SMTPServer) -> None:
    kit(CONNECTION_STATE=HOOKS[1])
    seen: list[str] = []

    def job() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('app.company', true)")
            seen.append(cursor.fetchone()[0])

    with transaction.atomic():
        set_company(connection, "acme", local=True)
        emails.after_answer(job, using="default")
    assert emails.flush()
    assert seen == ["acme"]


def test_a_role_is_carried_over_and_does_not_stay(kit: Callable[..., None], smtp: SMTPServer) -> None:
    kit(CONNECTION_STATE=f"{__name__}.role_of_connection")
    seen: list[str] = []
    owner = current_user()
    for role in ("pg_read_all_data", owner):
        with connection.cursor() as cursor:
            cursor.execute(f'SET ROLE "{role}"')
        emails.after_answer(lambda: seen.append(current_user()), using="default")
        assert emails.flush()
    assert seen == ["pg_read_all_data", owner]
    assert current_user() == owner


def test_in_tests_a_job_has_the_state_and_leaves_the_connection_as_it_was(kit: Callable[..., None]) -> None:
    kit(CONNECTION_STATE=HOOKS[1])
    seen: list[str] = []

    def current() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('app.company', true)")
            return str(cursor.fetchone()[0])

    set_company(connection, "initech")
    with transaction.atomic():
        set_company(connection, "acme", local=True)
        emails.after_answer(lambda: seen.append(current()), using="default")
    assert seen == ["acme"]
    assert current() == "initech"


def test_a_job_runs_with_the_context_variables_of_its_request(smtp: SMTPServer) -> None:
    seen: list[str] = []
    token = company.set("acme")
    emails.after_answer(lambda: seen.append(company.get()), using="default")
    company.reset(token)
    assert emails.flush()
    assert seen == ["acme"]


def test_a_connection_with_a_state_does_not_go_back_into_the_pool(
    kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**connection.settings_dict["OPTIONS"], "pool": True})
    kit(CONNECTION_STATE=HOOKS[0])
    connection.close()
    with background_connection(lambda connection: None, using="default") as private:
        assert "pool" not in private.settings_dict["OPTIONS"]
        with private.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_a_function_may_carry_nothing_over_and_must_not_return_anything_else(kit: Callable[..., None]) -> None:
    kit(CONNECTION_STATE=f"{__name__}.no_state")
    connection_state(connection)(connection)
    kit(CONNECTION_STATE=f"{__name__}.wrong_state")
    with pytest.raises(ImproperlyConfigured, match="must return a callable that takes a connection") as error:
        connection_state(connection)
    assert "password" not in str(error.value)
