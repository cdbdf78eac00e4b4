"""A marker in every secret, in every flow: afterwards it is found only where it belongs."""

import base64
import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.conf import broker
from ninja_auth_kit.conf import settings as kit_settings
from ninja_auth_kit.models import AuditOutbox, EmailAddress, OneTimeToken, ThrottleBucket, UserSession
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.tokens.digests import derive_key
from tests.attacks.canaries import (
    Log,
    RecordingApi,
    Trail,
    database,
    digests,
    leaks,
    mails,
    representations,
)
from tests.attacks.conftest import started
from tests.audit.conftest import Consumer, address
from tests.conftest import EMAIL, mailed_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack]

LABELS = ("refresh token", "pseudonym", "throttle bucket", "password fingerprint", "one-time token: verify_email")
NEW_EMAIL = "grace.hopper@example.com"
USERNAME = "ada_of_the_engine"


@pytest.fixture
def trail(settings: Settings, kit: Callable[..., None]) -> Trail:
    """Set keys and a broker password that are canaries."""
    trail = Trail()
    for name in ("JWT_SECRET_KEY", "SECRET_KEY", "RABBITMQ_PASSWORD"):
        key = secrets.token_urlsafe(48)
        setattr(settings, name, key)
        trail.secrets[name] = key
    for label in LABELS:
        trail.secrets[f"key of {label}"] = derive_key(label).hex()
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = address()
    kit(AUDIT_EMBEDDED_RELAY=False)
    return trail


class Play:
    """Every flow, valid and invalid, with a canary in every secret.

    No canary is sent in a URL. Servers and proxies log URLs, and the kit neither reads secrets from
    URLs nor puts them there.
    """

    def __init__(self, trail: Trail) -> None:
        self.trail, self.api = trail, RecordingApi(trail)
        self.password, self.wrong = trail.password("of the account"), trail.password("that is wrong")
        self.typed, self.changed = trail.password("typed into another field"), trail.password("that is new")
        self.last = trail.password("that is newest")
        self.garbage = trail.token("that is garbage", f"nakr_{secrets.token_hex(40)}")
        header, payload, signature = "eyJhbGciOiJub25lIn0", secrets.token_hex(20), secrets.token_hex(20)
        self.forged = trail.token("that is forged", f"{header}.{payload}.{signature}")
        self.api.client.cookies["sessionid"] = trail.token("in a cookie", secrets.token_hex(30))

    def all(self, kit: Callable[..., None]) -> None:
        """Run every flow."""
        with time_machine.travel(timezone.now(), tick=False) as clock:
            self.register_and_verify()
            self.log_in_and_send_tokens_everywhere()
            self.refresh(clock)
            self.change_and_reset_the_password(clock)
            self.change_the_address()
            self.log_out()
            self.reach_the_limits(kit)

    def both(self, path: str, right: dict[str, Any], *wrong: dict[str, Any], **more: Any) -> Any:
        """Send a body with each of the mistakes, which must be rejected, and then the valid body."""
        for mistake in wrong:
            assert self.api.post(path, {**right, **mistake}, **more).status_code >= 400
        response = self.api.post(path, right, **more)
        assert response.status_code < 300, (path, response.content)
        return response

    def log_in(self, password: str, email: str = EMAIL) -> dict[str, Any]:
        return dict(self.both("login", {"email": email, "password": password}).json())

    def mailed(self, what: str, index: int = -1) -> str:
        return self.trail.token(f"mailed to {what}", mailed_token(index))

    def register_and_verify(self) -> None:
        api, password = self.api, self.password
        api.register(self.typed, password, username=USERNAME)
        api.register(EMAIL, "short", username=USERNAME)
        api.post("register", {"email": EMAIL, "password": password, self.typed: self.typed})
        for _ in range(2):
            assert api.register(EMAIL, password, username=USERNAME).status_code == 202
        api.post("verify-email/resend", {"email": self.typed})
        self.both("verify-email/resend", {"email": EMAIL})
        link = {"token": self.mailed("verify"), "password": password}
        mistakes = {"password": self.wrong}, {"token": self.garbage}, {"token": [link["token"]]}
        self.both("verify-email", link, *mistakes)
        api.register(EMAIL, self.wrong, username="another_name")

    def log_in_and_send_tokens_everywhere(self) -> None:
        api, password = self.api, self.password
        for identifier in ({"email": EMAIL}, {"username": USERNAME}, {"email": self.typed}, {"username": self.typed}):
            api.post("login", {**identifier, "password": self.wrong})
        api.post("login", {"email": EMAIL, "password": {"x": password}})
        api.post("login", f'{{"email": "{EMAIL}", "password": "{password}"'.encode())
        api.post("login", f"email={EMAIL}&password={password}".encode(), content_type="text/plain")
        if has_username():
            self.both("login", {"username": USERNAME, "password": password})
        pair = self.log_in(password)
        for token in (self.forged, self.garbage, pair["refresh_token"], pair["access_token"]):
            for path in ("me", "sessions"):
                api.get(path, token=token, HTTP_COOKIE=f"access_token={token}")
            api.get("me", HTTP_AUTHORIZATION=f"Basic {token}")
            api.post("verify-email", {"token": token, "password": password})
            api.post("password/reset/confirm", {"token": token, "new_password": self.changed})
            api.post("email/change/confirm", {"token": token})

    def refresh(self, clock: time_machine.Traveller) -> None:
        tokens = [self.log_in(self.password)["refresh_token"]]
        for _ in range(2):
            self.both("refresh", {"refresh_token": tokens[-1]}, {"refresh_token": self.garbage})
            again = self.both("refresh", {"refresh_token": tokens[-1]})  # within the grace period
            tokens.append(again.json()["refresh_token"])
        clock.shift(timedelta(minutes=1))
        reused = self.api.post("refresh", {"refresh_token": tokens[0]})
        assert reused.json()["code"] == "token_reused"

    def change_and_reset_the_password(self, clock: time_machine.Traveller) -> None:
        token = self.log_in(self.password)["access_token"]
        change = {"current_password": self.password, "new_password": self.changed}
        self.both("password/change", change, {"current_password": self.wrong}, {"new_password": "short"}, token=token)
        self.api.post("password/reset", {"email": self.typed})
        self.both("password/reset", {"email": EMAIL})
        reset = {"token": self.mailed("reset"), "new_password": self.last}
        self.both("password/reset/confirm", reset, {"token": self.garbage}, {"new_password": "short"})
        clock.shift(timedelta(minutes=1))

    def change_the_address(self) -> None:
        token = self.log_in(self.last)["access_token"]
        move = {"new_email": NEW_EMAIL, "password": self.last}
        self.both("email/change", move, {"password": self.wrong}, {"new_email": self.typed}, token=token)
        self.both("email/change/confirm", {"token": self.mailed("change", -2)}, {"token": self.garbage})

    def log_out(self) -> None:
        pair = self.log_in(self.last, NEW_EMAIL)
        self.api.get("sessions", token=pair["access_token"])
        self.api.delete(f"sessions/{pair['session_id']}", token=pair["access_token"])
        for body in ({"refresh_token": self.garbage}, {"refresh_token": {"x": self.forged}}):
            self.api.post("logout", body, token=self.forged)
        pair = self.log_in(self.last, NEW_EMAIL)
        self.both("logout", {"refresh_token": pair["refresh_token"]}, token=pair["access_token"])
        assert self.api.post("logout/all", token=self.log_in(self.last, NEW_EMAIL)["access_token"]).status_code == 204

    def reach_the_limits(self, kit: Callable[..., None]) -> None:
        kit(THROTTLES={"login_account": "2/m", "login_network": "5/m", "password_account": "1/m"})
        token = self.log_in(self.last, NEW_EMAIL)["access_token"]
        statuses = [self.api.login(self.typed, self.wrong).status_code for _ in range(7)]
        deletions = [self.api("DELETE", "me", {"password": one}, token=token) for one in (self.wrong, self.last)]
        assert 429 in statuses
        assert [one.status_code for one in deletions] == [403, 429]
        assert ThrottleBucket.objects.exists()


def fill_tables(trail: Trail) -> None:
    """Leave rows in every table: an active session, pending links, a refused registration."""
    api = RecordingApi(trail)
    waiting = trail.password("of who waits")
    api.register("waiting@example.com", waiting, username="waiting")
    trail.token("of who waits", mailed_token())
    api.register(NEW_EMAIL, waiting, username="turned_away")
    api.post("password/reset", {"email": NEW_EMAIL})
    trail.token("of a reset", mailed_token())
    assert OneTimeToken.objects.count() >= 2
    assert UserSession.objects.filter(is_active=True).exists()


@pytest.fixture
def log() -> Iterator[Log]:
    with Log() as log:
        yield log


@pytest.mark.security("AUD-03", "AUD-04", "CRED-15", "CRED-19", "CFG-04", "VER-08", "SES-19")
@pytest.mark.parametrize("debug", [False, True])
def test_no_secret_is_anywhere_but_where_it_belongs(
    trail: Trail, kit: Callable[..., None], settings: Settings, log: Log, debug: bool
) -> None:
    settings.DEBUG = debug

    Play(trail).all(kit)
    fill_tables(trail)
    assert len(trail.secrets) > 60
    people = {"an address": EMAIL, "another": NEW_EMAIL, "a name": USERNAME}
    events = {f"outbox {row.pk}": f"{row.routing_key} {row.payload}" for row in AuditOutbox.objects.all()}
    lines = log.lines()
    # With DEBUG, Django logs every statement with its parameters: digests, and the identifiers of
    # users.
    without_sql = {place: line for place, line in lines.items() if "django.db.backends" not in place}
    of_the_kit = {place: line for place, line in lines.items() if "of ninja_auth_kit" in place}
    credentials = {what: secret for what, secret in trail.secrets.items() if "typed" not in what}
    pair = started(UserSession.objects.filter(is_active=True).get().user)
    issued = {"an access token": pair.access_token, "a refresh token": pair.refresh_token}

    assert leaks(database(), {**trail.secrets, **issued}) == []
    assert leaks(events, {**trail.secrets, **digests(), **people}) == []
    assert leaks(lines, credentials) == []
    assert leaks(without_sql, {**trail.secrets, **digests()}) == []
    assert leaks(of_the_kit, people) == []
    assert mails(trail.secrets) == []
    assert leaks(trail.answers, trail.secrets) == []
    assert leaks(representations(pair, kit_settings, broker(), django_settings), {**trail.secrets, **issued}) == []
    assert any(record.name == "django.db.backends" for record in log.records) is debug
    assert any(record.name == "django.request" for record in log.records)
    assert len(events) > 50
    assert len(mail.outbox) > 8
    assert all(text.count("#token=") for text in (str(one.body) for one in mail.outbox) if "nako_" in text)


def test_the_search_finds_what_is_planted(trail: Trail, user: Any, log: Log, settings: Settings) -> None:
    password = trail.password("that is planted")
    token = trail.token("that is planted", f"nako_{secrets.token_hex(20)}")
    needle = password.rpartition(" ")[2]
    EmailAddress.objects.filter(user=user).update(canonical=needle)
    try:
        raise RuntimeError(password)
    except RuntimeError:
        logging.getLogger("ninja_auth_kit.planted").debug("%s", "in the traceback", exc_info=True)
    logging.getLogger("django.request").info("%s", token)
    mail.EmailMessage("A subject", f"{token} {password}", to=["a@example.com"]).send()
    encoded = leaks(
        {"hex": needle.encode().hex(), "base64": "YWJj" + base64.b64encode(f"x{needle}y".encode()).decode()},
        trail.secrets,
    )

    assert len(leaks(database(), trail.secrets)) == 1
    assert {line.partition(" ")[0] for line in leaks(log.lines(), trail.secrets)} == {"password", "token"}
    assert [line.partition(",")[0] for line in mails(trail.secrets)] == ["password that is planted"]
    assert len(leaks(representations(password), trail.secrets)) == 1
    assert len(encoded) == 2


@pytest.mark.broker
@pytest.mark.security("AUD-03", "AUD-04")
def test_no_message_that_arrives_holds_a_secret(
    trail: Trail, kit: Callable[..., None], settings: Settings, log: Log
) -> None:
    kit(AUDIT_EXCHANGE=f"test-{secrets.token_hex(6)}.events")
    Play(trail).all(kit)
    with pytest.raises(BrokerError) as refused:
        configured_relay(using="default").drain()
    listening = Consumer(*address(), kit_settings.AUDIT_EXCHANGE)
    try:
        settings.RABBITMQ_PASSWORD = None
        waiting = AuditOutbox.objects.count()
        assert configured_relay(using="default").drain() == waiting > 50
        arrived = listening.messages(waiting)
    finally:
        listening.close()

    messages = {
        f"message {number}": f"{method!r} {properties!r} {vars(properties)!r} {body.decode()}"
        for number, (method, properties, body) in enumerate(arrived)
    }
    people = {"an address": EMAIL, "another": NEW_EMAIL, "a name": USERNAME}
    assert len(messages) == waiting
    assert leaks(messages, {**trail.secrets, **digests(), **people}) == []
    assert leaks(log.lines(), trail.secrets) == []
    assert leaks(representations(refused.value, broker()), trail.secrets) == []
