"""A marker in each secret of second factors: none is in a log, an event, an email or the text of an object."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.db import OperationalError
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors import devices, pending, recovery_codes
from ninja_auth_kit.contrib.totp import services
from ninja_auth_kit.tokens import TicketPurpose, read_ticket
from tests.attacks.canaries import Log, Trail, database, digests, leaks, mails
from tests.conftest import EMAIL, PASSWORD, Api, events
from tests.features.conftest import Authenticator, Enrolled, enrol, finish, finish_by_recovery_code

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack]

DEVICES = {"FACTORS": {"REMEMBER_DEVICE": timedelta(days=30)}}


class Play:
    """Every flow of second factors, with right and wrong secrets."""

    def __init__(self, trail: Trail, clock: time_machine.Traveller) -> None:
        self.trail, self.clock, self.api = trail, clock, Api()

    def all(self) -> None:
        """Run every flow."""
        app, token, codes = self.enrol()
        self.log_in_with_what_is_wrong(app, codes)
        device = self.log_in_and_remember(app)
        self.send_everything_everywhere(app, codes, device)
        self.use_codes(token, codes)

    def enrol(self) -> tuple[Authenticator, str, list[str]]:
        token = self.api.pair()["access_token"]
        begun = self.api.post("factors/totp", {"name": "my phone"}, token=token).json()
        self.trail.token("TOTP secret", begun["secret"])
        self.trail.secrets["TOTP address"] = begun["otpauth_uri"]
        app, path = Authenticator(begun["secret"]), f"factors/totp/{begun['id']}/confirm"
        self.api.post(path, {"code": app.wrong_code()}, token=token)
        body = self.api.post(path, {"code": app.code(steps=-1)}, token=token).json()
        for number, code in enumerate(body["recovery_codes"]):
            self.trail.secrets[f"recovery code {number}"] = code
            self.trail.secrets[f"recovery code {number}, as digested"] = code.replace("-", "")
        return app, body["tokens"]["access_token"], body["recovery_codes"]

    def pend(self) -> str:
        challenge = str(self.api.login().json()["challenge_token"])
        return self.trail.token(f"challenge {len(self.trail.secrets)}", challenge)

    def log_in_with_what_is_wrong(self, app: Authenticator, codes: list[str]) -> None:
        challenge = self.pend()
        for wrong in (app.wrong_code(), codes[9], codes[9].encode(), {"code": codes[9]}, [codes[9]]):
            sent = wrong.decode() if isinstance(wrong, bytes) else wrong
            self.api.post("login/totp", {"challenge_token": challenge, "code": sent})
        self.api.post("login/totp", {"challenge_token": {"x": challenge}, "code": codes[9]})
        self.api.post("login/totp", {"challenge_token": challenge, codes[9]: codes[9]})
        self.api.post("login/totp", json.dumps({"challenge_token": challenge, "code": codes[9]})[:-1].encode())
        self.api.get("me", token=challenge)

    def log_in_and_remember(self, app: Authenticator) -> str:
        self.clock.shift(60)
        done = finish(self.api, self.pend(), app.code(), remember_device=True)
        token = self.trail.token("device", done.json()["device_token"])
        for email, password in ((EMAIL, PASSWORD), (EMAIL, "wrong"), ("nobody@example.com", PASSWORD)):
            self.api.post("login", {"email": email, "password": password, "device_token": token})
        self.api.post("login", {"email": EMAIL, "password": PASSWORD, "device_token": {"x": token}})
        return token

    def send_everything_everywhere(self, app: Authenticator, codes: list[str], device: str) -> None:
        for secret in (self.trail.secrets["token TOTP secret"], codes[8], device):
            for path in ("login/totp", "login/recovery-code"):
                self.api.post(path, {"challenge_token": secret, "code": codes[8]})
            self.api.post("refresh", {"refresh_token": secret})
            self.api.get("factors", token=secret)

    def use_codes(self, token: str, codes: list[str]) -> None:
        token = finish_by_recovery_code(self.api, self.pend(), codes[0]).json()["access_token"]
        for code in (codes[0], codes[1]):
            self.api.post("step-up/recovery-code", {"code": code}, token=token)
        renewed = self.api.post("factors/recovery-codes", token=token).json()["codes"]
        self.trail.secrets["recovery code that was renewed"] = renewed[0]
        self.api.delete("devices", token=token)


@pytest.mark.security("TOTP-05", "REC-01", "FAC-15", "AUD-03", "AUD-04", "CRED-19")
@pytest.mark.parametrize("debug", [False, True])
def test_no_secret_of_a_second_factor_is_anywhere_but_where_it_belongs(
    user: Any,
    clock: time_machine.Traveller,
    kit: Callable[..., None],
    settings: Settings,
    audited: None,
    debug: bool,
) -> None:
    kit(**DEVICES, AUDIT_EMBEDDED_RELAY=False)
    settings.DEBUG = debug
    trail = Trail()
    with Log() as log:
        Play(trail, clock).all()

    lines = log.lines()
    # With DEBUG, Django logs every statement with its parameters, which are digests.
    without_sql = {place: line for place, line in lines.items() if "django.db.backends" not in place}
    secrets = trail.secrets
    assert len(secrets) > 25
    assert leaks(database(), secrets) == []
    assert leaks(lines, secrets) == []
    assert leaks(without_sql, digests()) == []
    assert leaks({"events": str(events())}, {**secrets, **digests(), "an address": EMAIL}) == []
    assert mails(secrets) == []
    assert leaks(_rows(), secrets) == []
    assert len(lines) > 10


def _rows() -> dict[str, str]:
    """Return the text of every row of the apps of second factors."""
    labels = ("ninja_auth_kit_factors", "ninja_auth_kit_totp")
    models = [model for label in labels for model in apps.get_app_config(label).get_models()]
    rows = [row for model in models for row in model._base_manager.all()]
    assert len(rows) > 10
    return {f"{type(row)} {row.pk}": f"{row!r} {row}" for row in rows}


def test_no_object_says_its_secret(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge, client = pend(), ClientInfo(ip_address="127.0.0.1")
    ticket = read_ticket(challenge, TicketPurpose.LOGIN)
    waiting = pending.read_challenge(challenge, client=client)
    begun = services.enrol(user=enrolled.user, name="")
    pair, _ = pending.login_by_recovery_code(
        challenge_token=challenge, code=enrolled.codes[0], request=RequestFactory().get("/"), client=client
    )
    secrets = {
        "challenge": challenge,
        "its digest": ticket.digest,
        "state": ticket.payload["state"],
        "secret": begun.secret,
        "address": begun.otpauth_uri,
        "access token": pair.access_token,
    }
    said = {type(one).__name__: f"{one!r} {one}" for one in (ticket, waiting, begun, pair)}
    assert leaks(said, secrets) == []


# The error reports of Django, which have the local variables of every frame


@pytest.mark.security("CFG-04", "AUD-03")
@pytest.mark.parametrize("error", [RuntimeError, OperationalError])
@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        ("login/totp", services.codes.hmac, "compare_digest"),
        ("login/totp", services, "complete"),
        ("login/totp", pending, "finish_login"),
        ("login/totp", devices, "digest"),
        ("login/recovery-code", recovery_codes, "digests"),
        ("login", devices, "digests"),
        ("step-up/totp", services.codes.hmac, "compare_digest"),
        ("step-up/totp", services, "step_up"),
        ("step-up/recovery-code", recovery_codes, "digests"),
        ("factors/totp", services, "sealed_secret"),
        ("factors/totp", services, "lock_unchanged"),
        ("factors/totp", services.codes.pyotp, "TOTP"),
        ("factors/recovery-codes", recovery_codes, "digest"),
        ("factors/totp/{}/confirm", services, "confirm_factor"),
    ],
    ids=str,
)
def test_no_error_report_has_a_secret(
    user: Any,
    clock: time_machine.Traveller,
    kit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    module: Any,
    name: str,
    error: type[Exception],
) -> None:
    kit(**DEVICES, SESSION_LIMIT=None)
    api, trail = Api(), Trail()
    app, confirmed = enrol(api, api.pair()["access_token"])
    code, token = confirmed.json()["recovery_codes"][0], confirmed.json()["tokens"]["access_token"]
    clock.shift(60)
    challenge = str(api.login().json()["challenge_token"])
    device = finish(api, challenge, app.code(), remember_device=True).json()["device_token"]
    challenge = trail.token("challenge that waits", api.login().json()["challenge_token"])
    begun = api.post("factors/totp", {}, token=token).json()
    clock.shift(60)
    trail.secrets |= {"recovery code": code, "device": device, "secret": app.secret, "other secret": begun["secret"]}
    digits, new_digits = app.code(), Authenticator(begun["secret"]).code()
    bodies = {
        "login/totp": {"challenge_token": challenge, "code": digits, "remember_device": True},
        "login/recovery-code": {"challenge_token": challenge, "code": code},
        "login": {"email": EMAIL, "password": PASSWORD, "device_token": device},
        "step-up/totp": {"code": digits},
        "step-up/recovery-code": {"code": code},
        "factors/totp/{}/confirm": {"code": new_digits},
    }

    def fail(*_: Any, **__: Any) -> Any:
        raise error("planted")

    with monkeypatch.context() as patched, Log() as log:
        patched.setattr(module, name, fail)
        response = api.post(path.format(begun["id"]), bodies.get(path), token=token)

    assert response.status_code in {500, 503}
    failures = [record for record in log.records if record.exc_info and record.exc_info[0] is not None]
    assert failures
    reports = {}
    for number, record in enumerate(failures):
        reporter = ExceptionReporter(getattr(record, "request", None), *record.exc_info)  # type: ignore[misc]
        reports[f"text {number}"] = reporter.get_traceback_text()
        reports[f"page {number}"] = reporter.get_traceback_html()
    assert any("planted" in text for text in reports.values())
    assert leaks({**reports, **log.lines(), "answer": response.content.decode()}, trail.secrets) == []
    for written in (digits, new_digits):
        assert not any(f"'{written}'" in text or f"&#x27;{written}&#x27;" in text for text in reports.values())
