"""What holds for all second factors: one door, no sign of a factor without the password, and cheap refusals."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events
from tests.features.conftest import Enrolled, answer, enrol, finish, finish_by_recovery_code
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


# One door

STARTS_A_SESSION = re.compile(
    r"\binsert_session\b|objects\.start\(|UserSession\.objects\.(bulk_)?create|UserSession\("
)
DOOR = {"services/internal/finish_login.py", "testing/sessions.py"}


@pytest.mark.security("FAC-03")
def test_nothing_but_the_end_of_a_login_starts_a_session() -> None:
    package = ROOT / "src" / "ninja_auth_kit"
    texts = {str(path.relative_to(package)): path.read_text() for path in package.rglob("*.py")}
    starting = {name for name, text in texts.items() if STARTS_A_SESSION.search(text)}

    assert len(texts) > 150
    assert starting - {"models/sessions.py"} == DOOR
    # `models/sessions.py` defines `start`, which stores the row, and calls nothing of this itself.
    assert STARTS_A_SESSION.findall(texts["models/sessions.py"]) == [""]


# Refusals


@pytest.mark.security("FAC-09")
def test_a_refusal_of_the_limit_opens_no_secret_and_compares_no_code(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=None)
    for _ in range(2):
        challenge = pend()
        for _try in range(5):
            finish(api, challenge, enrolled.app.wrong_code())
    for _ in range(10):
        api.post("step-up/totp", {"code": enrolled.app.wrong_code()}, token=enrolled.token)
    challenge = pend()

    for refused in (
        lambda: finish(api, challenge, enrolled.app.code()),
        lambda: api.post("step-up/totp", {"code": enrolled.app.code()}, token=enrolled.token),
        lambda: api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=enrolled.token),
    ):
        with CaptureQueriesContext(connection) as captured:
            response = refused()
        assert response.status_code == 429
        assert response["Retry-After"]
        read = " ".join(query["sql"] for query in captured)
        for model in (TotpSecret, RecoveryCode, Factor, SpentTicket):
            assert model._meta.db_table not in read


@pytest.mark.security("FAC-09")
def test_a_challenge_that_is_not_genuine_costs_no_statement(api: Api, enrolled: Enrolled) -> None:
    for challenge in ("", "nakt_AAAA", "x" * 4096, enrolled.token):
        with CaptureQueriesContext(connection) as captured:
            assert answer(finish(api, challenge, enrolled.app.code())) == (401, "invalid_challenge")
        assert len(captured) == 0


@pytest.mark.security("FAC-08", "FAC-09")
def test_challenges_that_are_not_genuine_are_limited_by_network(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"token_network": "3/m"})
    statuses = [finish(api, "nakt_AAAA", enrolled.app.code()).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert finish(api, pend(), enrolled.app.code()).status_code == 200


# Without the password, no sign of a factor


@pytest.fixture
def both(api: Api, enrolled: Enrolled, make_user: Callable[..., Any]) -> list[str]:
    """Return the addresses of a user with a factor and of one without."""
    make_user("grace@example.com")
    return [EMAIL, "grace@example.com"]


def said(response: Any) -> tuple[int, bytes, str]:
    return response.status_code, response.content, str(sorted(response.headers.items()))


@pytest.mark.security("FAC-10")
def test_whether_a_factor_is_enrolled_shows_to_nobody_without_the_password(api: Api, both: list[str]) -> None:
    attempts: list[Callable[[str], Any]] = [
        lambda email: api.login(email, "wrong"),
        lambda email: api.post("login", {"email": email, "password": "wrong", "device_token": "nakd_AAAA"}),
        lambda email: api.post("password/reset", {"email": email}),
        lambda email: api.register(email, PASSWORD, username=email.replace("@", "_")),
        lambda email: api.post("verify-email/resend", {"email": email}),
    ]
    for attempt in attempts:
        answers, costs = set(), set()
        for email in both:
            with CaptureQueriesContext(connection) as captured:
                answers.add(said(attempt(email)))
            costs.add(len(captured))
        assert len(answers) == 1
        assert len(costs) == 1


@pytest.mark.security("FAC-10")
def test_a_disabled_or_unverified_user_with_a_factor_is_refused_before_it_is_asked_for(
    api: Api, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    type(enrolled.user).objects.filter(pk=enrolled.user.pk).update(is_active=False)
    assert answer(api.login()) == (401, "invalid_credentials")
    type(enrolled.user).objects.filter(pk=enrolled.user.pk).update(is_active=True, email="moved@example.com")
    assert answer(api.login("moved@example.com")) == (403, "email_not_verified")


# Events


@pytest.mark.security("FAC-15")
def test_each_refusal_of_the_second_step_is_one_event(
    api: Api,
    enrolled: Enrolled,
    pend: Callable[..., str],
    kit: Callable[..., None],
    audited: None,
) -> None:
    def recorded(call: Callable[[], Any], status: int) -> tuple[str, str | None, Any]:
        before = len(events())
        assert call().status_code == status
        (event,) = events()[before:]
        data = event["data"]
        name = event["type"].removeprefix("ninja-auth-kit.").removesuffix(".v1")
        return name, data.get("reason"), data["details"]

    challenge, wrong = pend(), enrolled.app.wrong_code()
    failed = "session.factor_failed"
    bad = (failed, "invalid_challenge", {"method": None})
    assert recorded(lambda: finish(api, "nakt_AAAA", wrong), 401) == bad
    for _ in range(5):
        refused = recorded(lambda: finish(api, challenge, wrong), 401)
        assert refused == (failed, "invalid_factor", {"method": "totp"})
    assert recorded(lambda: finish(api, challenge, wrong), 401) == bad
    other = pend()
    refused = recorded(lambda: finish_by_recovery_code(api, other, "0" * 24), 401)
    assert refused == (failed, "invalid_factor", {"method": "recovery_code"})
    kit(SESSION_LIMIT_POLICY="reject")
    refused = recorded(lambda: finish(api, other, enrolled.app.code()), 409)
    assert refused[:2] == ("session.login_failed", "session_limit_reached")
    kit(SESSION_LIMIT=None)
    assert answer(finish(api, other, enrolled.app.code())) == (200, None)
    refused = recorded(lambda: finish(api, other, enrolled.app.code(steps=1)), 401)
    assert refused == (failed, "invalid_challenge", {"method": "totp"})


@pytest.mark.security("FAC-15")
def test_the_events_name_the_factor_by_its_id_and_its_kind_alone(
    api: Api, user: Any, audited: None, settings: Settings
) -> None:
    _, confirmed = enrol(api, api.pair()["access_token"], name="the phone of Ada Lovelace")
    body = confirmed.json()
    token = body["tokens"]["access_token"]
    api.patch(f"factors/{body['factor']['id']}", {"name": "her watch"}, token=token)
    api.delete(f"factors/{body['factor']['id']}", token=token)

    details = {event["type"]: event["data"]["details"] for event in events() if "factor." in event["type"]}
    factor = {"factor_id": body["factor"]["id"], "kind": "totp"}
    assert details == {"ninja-auth-kit.factor.added.v1": factor, "ninja-auth-kit.factor.removed.v1": factor}
    for word in ("Lovelace", "watch", EMAIL):
        assert word not in str(events())


@pytest.mark.security("FAC-15")
def test_a_second_step_that_is_refused_for_the_limit_of_sessions_uses_nothing_up(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    challenge = pend()
    for _ in range(6):  # more often than wrong codes are allowed
        assert answer(finish(api, challenge, enrolled.app.code())) == (409, "session_limit_reached")
        refused = finish_by_recovery_code(api, challenge, enrolled.codes[0])
        assert answer(refused) == (409, "session_limit_reached")
    assert SpentTicket.objects.count() == 0
    assert "recovery.used" not in event_names()
    api.post("logout", token=enrolled.token)
    assert answer(finish(api, challenge, enrolled.app.code())) == (200, None)
    assert UserSession.objects.filter(is_active=True).count() == 1


@pytest.mark.security("FAC-12")
@pytest.mark.parametrize(("method", "path"), [("PATCH", "factors/{}"), ("DELETE", "factors/{}")])
def test_a_factor_of_another_user_does_not_exist(
    api: Api, enrolled: Enrolled, make_user: Callable[..., Any], method: str, path: str
) -> None:
    make_user("grace@example.com")
    _, confirmed = enrol(api, api.pair("grace@example.com")["access_token"])
    token = confirmed.json()["tokens"]["access_token"]
    body = {"name": "mine now"} if method == "PATCH" else None
    assert answer(api(method, path.format(enrolled.factor_id), body, token=token)) == (404, "not_found")
    assert Factor.objects.get(pk=enrolled.factor_id).name == "my phone"


@pytest.mark.security("FAC-12")
@pytest.mark.parametrize("name", ["", " ", "x" * 64, "M\u00fcllers Uhr \u231a"])
def test_a_factor_may_have_any_name(api: Api, enrolled: Enrolled, name: str) -> None:
    renamed = api.patch(f"factors/{enrolled.factor_id}", {"name": name}, token=enrolled.token)
    assert renamed.status_code == 200
    assert renamed.json()["name"] == name.strip()


@pytest.mark.parametrize("name", ["x" * 65, "\x00", "a\nb", "\ud800", None, 1])
def test_a_name_that_is_too_long_or_no_text_is_refused(api: Api, enrolled: Enrolled, name: Any) -> None:
    refused = api.patch(f"factors/{enrolled.factor_id}", {"name": name}, token=enrolled.token)
    assert answer(refused) == (422, "validation_error")


# The code of the project

asked: list[bool] = []


def claims_of_the_project(user: Any, session: UserSession) -> dict[str, Any]:
    """Note whether a transaction is open, in which slow code would hold the lock of the user."""
    asked.append(connection.in_atomic_block)
    return {"roles": ["poet"]}


def test_the_claims_of_the_project_are_in_each_token_and_are_made_before_the_lock(
    api: Api, user: Any, kit: Callable[..., None], pend: Callable[..., str]
) -> None:
    kit(ACCESS_TOKEN_CLAIMS=f"{__name__}.claims_of_the_project", SESSION_LIMIT=None)
    asked.clear()
    app, first = enrol(api, api.pair()["access_token"])
    token = first.json()["tokens"]["access_token"]
    _, later = enrol(api, token, name="my tablet")
    issued = [
        token,
        later.json()["tokens"]["access_token"],
        finish(api, pend(), app.code()).json()["access_token"],
        finish_by_recovery_code(api, pend(), first.json()["recovery_codes"][0]).json()["access_token"],
        api.post("step-up/totp", {"code": app.code(steps=1)}, token=token).json()["access_token"],
    ]

    assert [read_access_token(one).extra for one in issued] == [{"roles": ["poet"]}] * 5
    assert len(asked) >= 6
    assert not any(asked)
