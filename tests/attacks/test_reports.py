"""A failure in any flow: neither the response nor the error report discloses a secret."""

import logging
import re
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.signals import got_request_exception
from django.db.backends.utils import CursorWrapper
from django.test import RequestFactory
from django.utils.log import AdminEmailHandler
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from ninja_auth_kit import services
from ninja_auth_kit.api.schemas import LogoutIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import UserSession
from tests.attacks.canaries import Places, Trail, leaks
from tests.attacks.conftest import Operation, genuine_values, operations, undone
from tests.conftest import EMAIL, Api, registered_name
from tests.test_errors import problem

pytestmark = [pytest.mark.django_db, pytest.mark.security("CFG-04", "AUD-03", "HTTP-04"), pytest.mark.attack]


class BrokenError(Exception):
    """The failure that the tests cause."""


def broken(*anything: Any, **named: Any) -> Any:
    """Fail with the arguments in local variables whose names do not suggest a secret."""
    raise BrokenError


def break_hasher(patch: pytest.MonkeyPatch) -> None:
    # Hashers use this parameter name, and Django hides variables by their name.
    def encode(self: Any, password: str, salt: str) -> str:
        raise BrokenError

    patch.setattr(MD5PasswordHasher, "encode", encode)
    patch.setattr(MD5PasswordHasher, "verify", encode)


def break_database(patch: pytest.MonkeyPatch) -> None:
    def execute(self: CursorWrapper, statement: Any, parameters: Any = None) -> Any:
        if re.match(r"\s*(INSERT|UPDATE|DELETE|WITH)", str(statement)):
            raise BrokenError
        return genuine(self, statement, parameters)

    genuine = CursorWrapper.execute
    patch.setattr(CursorWrapper, "execute", execute)


def break_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("hmac.digest", broken)


def break_mail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ninja_auth_kit.emails.render", broken)
    patch.setattr("ninja_auth_kit.emails.page_url", broken)


# The members whose values are secrets. Codes are added for some operations: see the test.
TOKENS = (
    "access_token",
    "refresh_token",
    "token",
    "challenge_token",
    "device_token",
    "signup_token",
    "flow_token",
    "state",
    "id_token",
)

BREAKAGES = (break_hasher, break_database, break_tokens, break_mail)


@pytest.fixture(params=[False, True], ids=["without DEBUG", "with DEBUG"])
def reports(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Places]:
    """Collect the error reports: Django's page and email, and those of error trackers."""
    found: Places = {}
    settings.DEBUG = request.param

    def hear(request: Any, **_: Any) -> None:
        found[f"page {len(found)}"] = ExceptionReporter(request, *sys.exc_info()).get_traceback_html()
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(sys.exc_info()[2])]
        found[f"tracker {len(found)}"] = repr(frames)

    class Mailer(AdminEmailHandler):
        def send_mail(self, subject: str, message: str, *args: Any, html_message: Any = None, **_: Any) -> None:
            found[f"mail {len(found)}"] = f"{subject} {message} {html_message}"

    mailer = Mailer(include_html=True)
    # With DEBUG, Django's reports show everything by design, and only developers see them.
    if not settings.DEBUG:
        got_request_exception.connect(hear)
        logging.getLogger().addHandler(mailer)
    yield found
    logging.getLogger().removeHandler(mailer)
    got_request_exception.disconnect(hear)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_no_answer_and_no_report_of_a_failure_holds_a_secret(
    breakage: Callable[[pytest.MonkeyPatch], None],
    make_user: Callable[..., Any],
    settings: Settings,
    reports: Places,
) -> None:
    trail, answers, failed = Trail(), {}, set()
    right, new = trail.password("of the account"), trail.password("that is new")
    typed = trail.password("typed into the address")
    user = make_user(password=right)
    trail.secrets |= {"JWT_SECRET_KEY": settings.JWT_SECRET_KEY, "SECRET_KEY": settings.SECRET_KEY}
    for name, provider in settings.NINJA_AUTH_KIT.get("OIDC", {}).get("PROVIDERS", {}).items():
        trail.secrets[f"client secret of {name}"] = provider["client_secret"]

    for operation in operations():
        genuine = genuine_values(user, operation)
        for name in TOKENS:
            if name in genuine:
                trail.token(f"{name} for {operation}", str(genuine[name]))
        if operation.path.endswith(("/recovery-code", "/finish")):
            trail.secrets[f"code for {operation}"] = genuine["code"]
        genuine |= {"password": right, "current_password": right, "new_password": new}
        path = operation.path_of(genuine)
        mistakes = [{name: typed} for name in ("email", "new_email") if name in operation.members]
        for mistake in ({}, *mistakes):
            body = {name: {**genuine, **mistake}[name] for name in operation.members} or None
            with undone(), pytest.MonkeyPatch.context() as patch:
                breakage(patch)
                response = Api()(operation.method, path, body, token=genuine["access_token"])
            answers[f"{operation} {mistake}"] = f"{response.headers} {response.content.decode()}"
            if response.status_code >= 500:
                failed.add(str(operation))
                problem(response, 500, "server_error")

    assert len(failed) > 2, failed
    assert bool(reports) is not settings.DEBUG
    assert leaks(answers, trail.secrets) == []
    assert leaks(reports, trail.secrets) == []


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_no_report_holds_a_secret_where_a_host_calls_the_services(
    breakage: Callable[[pytest.MonkeyPatch], None], make_user: Callable[..., Any], rf: RequestFactory
) -> None:
    trail, client, request = Trail(), ClientInfo(ip_address="127.0.0.1"), rf.post("/")
    right, new = trail.password("of the account"), trail.password("that is new")
    user = make_user(password=right)
    tokens = {}
    for path in ("verify-email", "password/reset", "email/change"):
        genuine = genuine_values(user, Operation("POST", path, {}, {}))
        tokens[path] = trail.token(f"for {path}", str(genuine["token"]))
    access = trail.token("access", str(genuine["access_token"]))
    refresh = trail.token("refresh", str(genuine["refresh_token"]))
    session_id = uuid.UUID(genuine["session_id"])
    name = registered_name("somebody_else")
    calls: list[Callable[[], Any]] = [
        lambda: services.login(request=request, email=EMAIL, password=right),
        lambda: services.register(email="new@example.com", password=new, client=client, **name),
        lambda: services.refresh(token=refresh, client=client),
        lambda: services.logout(request=request, access_token=access, refresh_token=refresh),
        lambda: services.check_access_token(access),
        lambda: services.verify_email(token=tokens["verify-email"], password=right, client=client),
        lambda: services.change_password(
            user=user, session_id=session_id, current_password=right, new_password=new, client=client
        ),
        lambda: services.confirm_password_reset(token=tokens["password/reset"], new_password=new, client=client),
        lambda: services.request_email_change(user=user, new_email="x@example.com", password=right, client=client),
        lambda: services.confirm_email_change(token=tokens["email/change"], client=client),
        lambda: services.delete_account(user=user, password=right, client=client),
    ]
    reports = {}

    for number, call in enumerate(calls):
        with undone(), pytest.MonkeyPatch.context() as patch:
            breakage(patch)
            try:
                call()
            except Exception as error:
                # Without the frames of the project, which holds the password too.
                frames = error.__traceback__.tb_next.tb_next
                reports[f"service {number}"] = ExceptionReporter(None, type(error), error, frames).get_traceback_html()

    assert reports
    assert leaks(reports, trail.secrets) == []


def test_a_secret_that_a_profile_of_the_host_has_is_in_no_report(
    host_api: Callable[..., Api], user: Any, monkeypatch: pytest.MonkeyPatch, reports: Places
) -> None:
    trail = Trail()
    api = host_api(PROFILE_SCHEMA="tests.host_app.odd_schemas.SecretProfile")
    token = api.pair()["access_token"]
    monkeypatch.setattr(type(user), "save", broken)

    response = api.patch("me", {"first_name": trail.password("of a profile")}, token=token)

    problem(response, 500, "server_error")
    assert leaks(reports, trail.secrets) == []


@pytest.mark.parametrize("name", ["refresh_token", "refresh"])
def test_a_refresh_token_that_a_failed_logout_leaves_alive_is_in_no_report(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, reports: Places, name: str
) -> None:
    trail = Trail()
    token = trail.token("that lives on", api.pair()["refresh_token"])
    monkeypatch.setattr(type(UserSession.objects), "end", broken)

    problem(api.post("logout", {name: token}), 500, "server_error")

    assert leaks(reports, trail.secrets) == []
    assert token not in repr(LogoutIn(refresh_token=token))


def test_a_report_shows_the_local_variables_of_others() -> None:
    trail = Trail()
    password = trail.password("that is planted")

    with pytest.raises(BrokenError) as caught:
        broken(password)

    page = ExceptionReporter(None, caught.type, caught.value, caught.tb).get_traceback_html()
    assert len(leaks({"page": page}, trail.secrets)) == 1
