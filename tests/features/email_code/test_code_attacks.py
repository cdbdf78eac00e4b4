"""Any code and any challenge get a documented answer, and no log, event or row has a code."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.views.debug import ExceptionReporter
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from ninja_auth_kit.contrib.email_code import codes, mailing, models, services
from ninja_auth_kit.contrib.email_code.models import LoginCode
from ninja_auth_kit.contrib.email_code.testing import emailed_code
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.spent_tickets import SpentTicketManager
from tests.attacks.canaries import Log, Trail, database, digests, leaks
from tests.attacks.conftest import bounded, operations, undone
from tests.conftest import EMAIL, Api, events
from tests.features.email_code.conftest import WRONG, ask, ask_and_read, log_in, sign_up

pytestmark = pytest.mark.attack

PATHS = ("login/email-code", "login/email-code/signup")
letters = st.characters() | st.sampled_from("\x00\u017f\u0130\ud800-BCDFbcdf \u200b\uff22\r\n")
texts = st.text(letters, max_size=40) | st.text(codes.ALPHABET + "-", min_size=8, max_size=9)


def documented(path: str) -> Any:
    return next(one for one in operations() if one.path == f"/api/auth/{path}")


@pytest.mark.django_db
@pytest.mark.security("CODE-02")
@bounded(150)
@given(code=texts, cut=st.integers(0, 200), letter=st.sampled_from("AQgw_-=~"), path=st.sampled_from(PATHS))
@example(code="", cut=0, letter="A", path="login/email-code")
@example(code="\ud800", cut=5, letter="A", path="login/email-code")
def test_odd_codes_and_challenges_get_a_documented_answer(code: str, cut: int, letter: str, path: str) -> None:
    with undone():
        api = Api()
        challenge = ask(api, "nobody@example.com")
        changed = challenge[: cut % len(challenge)] + letter + challenge[cut % len(challenge) + 1 :]
        for token in (challenge, changed, changed[:cut], challenge + letter):
            if path == "login/email-code":
                body = {"challenge_token": token, "code": code}
            else:
                body = {"signup_token": token, "username": code}
            response = api.post(path, body)
            documented(path).assert_documented(response)
            assert response.status_code in {401, 422}
        assert not UserSession.objects.exists()


@pytest.mark.django_db
@bounded(100)
@given(
    code=st.text(st.sampled_from(codes.ALPHABET + codes.ALPHABET.lower()), min_size=8, max_size=8), dashes=st.data()
)
def test_every_spelling_of_a_code_is_the_code(code: str, dashes: Any) -> None:
    place = dashes.draw(st.integers(0, 8))
    assert codes.normalized(f" {code[:place]}-{code[place:]}\t") == code.upper()
    assert codes.normalized(codes.shown(code.upper())) == code.upper()


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("FAC-15", "AUD-03", "AUD-04", "CRED-19")
@pytest.mark.parametrize("debug", [False, True])
def test_no_code_is_anywhere_but_in_its_email(
    api: Api, user: Any, kit: Callable[..., None], settings: Settings, audited: None, debug: bool
) -> None:
    kit(EMAIL_CODE={"REGISTERS": True}, AUDIT_EMBEDDED_RELAY=False)
    settings.DEBUG = debug
    trail = Trail()

    def noted(challenge: str, code: str) -> tuple[str, str]:
        trail.token(f"challenge {len(trail.secrets)}", challenge)
        trail.secrets[f"code {len(trail.secrets)}"] = code
        trail.secrets[f"code {len(trail.secrets)}, as digested"] = code.replace("-", "")
        return challenge, code

    answers = {}
    with Log() as log:
        challenge, code = noted(*ask_and_read(api))
        unused = noted(*ask_and_read(api))
        new = noted(*ask_and_read(api, "new@example.com"))
        bodies: list[Any] = [
            {"challenge_token": challenge, "code": WRONG},
            {"challenge_token": challenge, "code": {"x": code}},
            {"challenge_token": challenge, "code": [code]},
            {"challenge_token": code, "code": challenge},
            json.dumps({"challenge_token": challenge, "code": code})[:-1].encode(),
            {"challenge_token": unused[0], "code": code},
        ]
        for number, body in enumerate(bodies):
            answers[f"answer {number}"] = api.post("login/email-code", body).content.decode()
        answers["login"] = log_in(api, challenge, code).content.decode()
        answers["again"] = log_in(api, challenge, code).content.decode()
        answers["new"] = sign_up(api, *new).content.decode()

    lines = log.lines()
    without_sql = {place: line for place, line in lines.items() if "django.db.backends" not in place}
    assert len(trail.secrets) == 9
    assert leaks(database(), trail.secrets) == []
    assert leaks(lines, trail.secrets) == []
    assert leaks(without_sql, digests()) == []
    assert leaks({"events": str(events())}, {**trail.secrets, **digests(), "an address": EMAIL}) == []
    assert leaks(answers, trail.secrets) == []
    rows = {str(row.pk): f"{row!r} {row}" for row in LoginCode.objects.all()}
    assert leaks(rows, {**trail.secrets, "an address": EMAIL}) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("CFG-04", "AUD-03")
@pytest.mark.parametrize("error", [RuntimeError, OperationalError])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (services, "finish_login"),
        (models, "is_digest_of"),
        (SpentTicketManager, "spend"),
        (models, "digest"),
    ],
    ids=str,
)
def test_no_error_report_has_a_code(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: type[Exception]
) -> None:
    challenge, code = ask_and_read(api)
    secrets = {"challenge": challenge, "code": code, "as digested": code.replace("-", "")}

    def fail(*_: Any, **__: Any) -> Any:
        raise error("planted")

    with monkeypatch.context() as patched, Log() as log:
        patched.setattr(module, name, fail)
        response = log_in(api, challenge, code if name != "digest" else WRONG)
        if name == "digest":
            ask(api)

    failures = [record for record in log.records if record.exc_info and record.exc_info[0] is not None]
    reports = {}
    for number, record in enumerate(failures):
        reporter = ExceptionReporter(getattr(record, "request", None), *record.exc_info)  # type: ignore[misc]
        reports[f"text {number}"] = reporter.get_traceback_text()
        reports[f"page {number}"] = reporter.get_traceback_html()
    if name != "digest":
        assert response.status_code in {500, 503}
        assert any("planted" in text for text in reports.values())
    assert leaks({**reports, **log.lines(), "answer": response.content.decode()}, secrets) == []


@pytest.mark.django_db(transaction=True)
def test_no_error_of_the_mail_server_reveals_a_code(api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    new_code = mailing.new_code

    def noted() -> str:
        made.append(new_code())
        return made[-1]

    monkeypatch.setattr(mailing, "new_code", noted)
    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", lambda *_: 1 / 0)
    with Log() as log:
        ask(api)

    assert len(made) == 1
    secrets = {"code": made[0], "as shown": codes.shown(made[0])}
    assert leaks({**log.lines(), **database()}, secrets) == []
    with pytest.raises(ValueError, match="0 emails"):
        emailed_code()
