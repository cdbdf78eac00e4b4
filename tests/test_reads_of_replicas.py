"""A project whose database router sends reads to a replica: every read of the kit goes to the primary.

A replica lags. A session that has ended, a password that was changed and a link that was used would be accepted there.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.test import RequestFactory
from django.test.testcases import DatabaseOperationForbidden
from django.utils import timezone
from pytest_django import Settings

import ninja_auth_kit
from ninja_auth_kit import services
from ninja_auth_kit.models import AuditDeferred, EmailAddress, UserSession
from ninja_auth_kit.services.promised_emails import send_due_and_log
from ninja_auth_kit.urls import api as kit_api
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token
from tests.replica_router import REPLICA, replica_that_is_away

pytestmark = pytest.mark.django_db(transaction=True)
NEW_EMAIL, NEW_PASSWORD = "ada@new.example.com", "another battery staple of a horse"
TOLD_TO_THE_BROKER = {"authkit_tail", "authkit_relay"}  # these need a broker: see the faults 53 to 58
WITHOUT_DATABASE = {"authkit_keys", "authkit_asyncapi"}


@pytest.fixture(autouse=True)
def reads_are_sent_to_a_replica(settings: Settings, transactional_db: None) -> Iterator[None]:
    with replica_that_is_away():
        settings.DATABASE_ROUTERS = ["tests.replica_router.Router"]
        yield


class Walk(Api):
    """A client that notes the operations that it has called, and expects a status code of each."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[tuple[str, str]] = set()

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        self.called.add((method.lower(), "sessions/{session_id}" if path.startswith("sessions/") else path))
        return super().__call__(method, path, body, **more)


def answer(response: Any, status: int) -> Any:
    """Assert the status code of a response, and return its body."""
    assert response.status_code == status, response.content
    return response.json() if response.content else None


def test_the_router_of_these_tests_sends_reads_to_a_replica_that_is_away(user: Any) -> None:
    with pytest.raises(DatabaseOperationForbidden, match=REPLICA):
        get_user_model()._default_manager.get(pk=user.pk)


@pytest.mark.security("SES-22")
def test_no_endpoint_reads_from_a_replica(settings: Settings) -> None:
    settings.RABBITMQ_HOST = "127.0.0.1"  # so that audit events are written to the outbox
    api = Walk()

    answer(api.register(), 202)
    answer(api.register(), 202)  # of a pending address
    answer(api.post("verify-email/resend", {"email": EMAIL}), 202)
    answer(api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}), 200)
    answer(api.register(username="other"), 202)  # of an address that is taken
    answer(api.login("grace@example.com"), 401)
    answer(api.login(password="wrong"), 401)
    _use_a_session(api)
    _change_the_account(api)
    answer(api.get(".well-known/jwks.json"), 404)  # the tests sign with a secret, so there is no public key

    paths = kit_api.get_openapi_schema()["paths"]
    operations = {(method, path.removeprefix("/api/auth/")) for path, item in paths.items() for method in item}
    assert operations == api.called


def _use_a_session(api: Walk) -> None:
    """Read, rotate and end sessions in every way."""
    first = answer(api.login(), 200)
    token = first["access_token"]
    assert answer(api.get("me", token=token), 200)["email"] == EMAIL
    answer(api.patch("me", {}, token=token), 200)
    assert len(answer(api.get("sessions", token=token), 200)) == 1
    second = answer(api.post("refresh", {"refresh_token": first["refresh_token"]}), 200)
    again = answer(api.post("refresh", {"refresh_token": first["refresh_token"]}), 200)
    assert again["refresh_token"] == second["refresh_token"]
    answer(api.post("refresh", {"refresh_token": second["refresh_token"]}), 200)
    assert answer(api.post("refresh", {"refresh_token": first["refresh_token"]}), 401)["code"] == "token_reused"
    for path in ("logout", "logout/all", "sessions/"):
        pair = answer(api.login(), 200)
        if path == "sessions/":
            answer(api.delete(path + pair["session_id"], token=pair["access_token"]), 204)
        else:
            answer(api.post(path, token=pair["access_token"]), 204)
        answer(api.get("me", token=pair["access_token"]), 401)
        answer(api.post("refresh", {"refresh_token": pair["refresh_token"]}), 401)


def _change_the_account(api: Walk) -> None:
    """Change and reset the password, change the address, and delete the account."""
    token = answer(api.login(), 200)["access_token"]
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer(api.post("password/change", change, token=token), 204)
    answer(api.post("password/reset", {"email": EMAIL}), 202)
    reset = {"token": mailed_token(), "new_password": PASSWORD}
    answer(api.post("password/reset/confirm", reset), 204)
    answer(api.post("password/reset/confirm", reset), 400)
    token = answer(api.login(), 200)["access_token"]
    answer(api.post("email/change", {"new_email": NEW_EMAIL, "password": PASSWORD}, token=token), 202)
    answer(api.post("email/change/confirm", {"token": _token_to(NEW_EMAIL)}), 204)
    token = answer(api.login(NEW_EMAIL), 200)["access_token"]
    answer(api("DELETE", "me", {"password": PASSWORD}, token=token), 204)
    answer(api.login(NEW_EMAIL), 401)


def _token_to(address: str) -> str:
    (index,) = [
        index for index, message in enumerate(mail.outbox) if address in message.to and "#token=" in message.body
    ]
    return mailed_token(index)


@pytest.mark.parametrize("route", ["/host/sync", "/host/stateless-user"])
def test_no_route_of_the_project_is_decided_by_a_replica(api: Api, user: Any, route: str) -> None:
    token = api.pair()["access_token"]

    answer(api.get(route, token=token), 200)
    get_user_model()._base_manager.using("default").update(is_active=False)
    answer(api.get(route, token=token), 401)


@pytest.mark.security("SES-22")
def test_what_is_read_later_comes_from_the_primary(api: Api, user: Any) -> None:
    pair = api.pair()
    (session,) = services.list_sessions(user=user)
    checked = services.check_access_token(pair["access_token"])
    found = get_user_model()._default_manager.using("default").get(pk=user.pk)  # by the project, and not by the kit

    assert checked.expires_at == session.expires_at  # deferred
    checked.refresh_from_db()
    assert found.authkit_email.verified_at is not None
    assert [row.pk for row in found.sessions.all()] == [session.pk]
    assert EmailAddress.objects.get(user=found) == found.authkit_email


def test_a_session_of_a_user_whom_the_project_has_read_from_the_replica_starts_by_the_state_of_the_primary(
    api: Api, user: Any
) -> None:
    stale = get_user_model()._default_manager.using("default").get(pk=user.pk)
    stale._state.db = REPLICA
    request = RequestFactory().post("/sso")

    pair = services.start_session(stale, request=request)
    assert api.is_in(pair.access_token)
    get_user_model()._base_manager.using("default").update(is_active=False)
    with pytest.raises(services.sessions.InvalidCredentialsError):
        services.start_session(stale, request=request)


def test_no_command_reads_from_a_replica(api: Api, user: Any, make_user: Any, audited: None, tmp_path: Path) -> None:
    make_user("grace@example.com", verified=False)
    api.login()
    api.post("password/reset", {"email": EMAIL})
    _set_aside_an_event()
    commands = {
        "authkit_addresses": ["--dry-run"],
        "authkit_doctor": ["--list", "5"],
        "authkit_prune": ["--keep", "0"],
        "authkit_requeue": [],
        "authkit_revoke": ["--everyone"],
        "authkit_status": ["--max-age", "100000"],
        "authkit_verify": ["grace@example.com"],
    }
    found = {file.stem for file in (Path(ninja_auth_kit.__file__).parent / "management/commands").glob("authkit_*.py")}

    assert found == {*commands, *TOLD_TO_THE_BROKER, *WITHOUT_DATABASE}
    for command, arguments in commands.items():
        with suppress(SystemExit):  # doctor and status end with 1, because there is something to report
            call_command(command, *arguments, stdout=StringIO(), stderr=StringIO())
    call_command("authkit_verify", "--all", "--include-disabled", stdout=StringIO())
    call_command("authkit_addresses", stdout=StringIO())
    assert not UserSession.objects.filter(is_active=True).exists()
    assert EmailAddress.objects.filter(verified_at=None).count() == 0


def _set_aside_an_event() -> None:
    AuditDeferred.objects.create(
        id=1_000_000,  # above those of the outbox, where it is put back
        event_id=uuid.uuid4(),
        shard=0,
        routing_key="auth.session.login.success",
        payload="{}",
        created_at=timezone.now(),
        state="parked",
        reason="unroutable",
    )


def test_promised_emails_are_not_looked_for_on_a_replica(api: Api, user: Any) -> None:
    assert send_due_and_log(threading.Event())


def test_every_model_of_the_kit_is_read_from_the_primary_by_both_managers(user: Any) -> None:
    for model in apps.get_app_config("ninja_auth_kit").get_models():
        if not model._meta.proxy:
            assert model._default_manager.all().db == "default", model
            assert model._base_manager.db_manager(hints={"instance": user}).all().db == "default", model
