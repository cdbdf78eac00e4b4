"""A marker in each secret of a flow: none is in a log, an event, an email, a report or the database."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError
from django.views.debug import ExceptionReporter

from ninja_auth_kit.contrib.oidc import exchange, flows, http_client, login, models, services
from ninja_auth_kit.contrib.oidc.providers import find_provider
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from tests.attacks.canaries import Log, Trail, database, digests, leaks, mails
from tests.conftest import EMAIL, Api, events
from tests.features.oidc.conftest import SECRET, SUBJECT, begin, begin_native, link, query_of
from tests.features.oidc.providers.hostile import Provider

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack]


class Play:
    """Every flow of providers, with right and wrong secrets."""

    def __init__(self, trail: Trail, provider: FakeProvider, api: Api) -> None:
        self.trail, self.provider, self.api = trail, provider, api
        trail.secrets["client secret"] = SECRET
        redeem = provider._redeem

        def watched(request: Any, fields: Any) -> Any:
            trail.secrets[f"verifier {len(trail.secrets)}"] = fields["code_verifier"]
            status, body = redeem(request, fields)
            if "id_token" in body:
                trail.token(f"id token {len(trail.secrets)}", body["id_token"])
            return status, body

        provider._redeem = watched  # type: ignore[method-assign]

    def begin(self, purpose: str = "login", token: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
        started = begin(self.api, "example", purpose, token=token)
        self.trail.token(f"flow token {len(self.trail.secrets)}", started["flow_token"])
        returned = self.provider.authorize(started["authorization_url"])
        self.trail.secrets[f"code {len(self.trail.secrets)}"] = returned["code"]
        self.trail.secrets[f"state {len(self.trail.secrets)}"] = returned["state"][2:]
        self.trail.secrets[f"nonce {len(self.trail.secrets)}"] = query_of(started)["nonce"]
        return started, returned

    def all(self) -> None:
        token = str(self.api.pair()["access_token"])
        for purpose in ("login", "link", "step_up", "login"):
            started, returned = self.begin(purpose, None if purpose == "login" else token)
            body = {"flow_token": started["flow_token"], **returned}
            for wrong in (
                {"state": "0.x"},
                {"code": "x" + returned["code"]},
                {"code": {"x": returned["code"]}},
                {"flow_token": started["flow_token"][:-3]},
                {"id_token": returned["code"]},
                {returned["code"]: 1},
            ):
                self.api.post("oidc/example/finish", {**body, **wrong}, token=token)
            self.api.post("oidc/nobody/finish", body)
            done = self.api.post("oidc/example/finish", body, token=token)
            if purpose in ("link", "step_up"):
                assert done.status_code < 300, done.content
        native = begin_native(self.api)
        id_token = self.trail.token("id token of an app", self.provider.id_token(native["nonce"]))
        wrong = self.trail.token("wrong id token", self.provider.id_token("x"))
        for sent in (wrong, id_token + "A", id_token, id_token):
            self.api.post("oidc/example/id-token", {"flow_token": native["flow_token"], "id_token": sent})
            self.api.get("me", token=sent)
            self.api.post("refresh", {"refresh_token": sent})


@pytest.mark.security("OIDC-12", "AUD-03", "AUD-04")
@pytest.mark.parametrize("debug", [False, True])
def test_no_secret_of_a_flow_is_anywhere_but_where_it_belongs(
    api: Api, user: Any, provider: FakeProvider, kit: Callable[..., None], settings: Any, audited: None, debug: bool
) -> None:
    kit(AUDIT_EMBEDDED_RELAY=False)
    settings.DEBUG = debug
    trail = Trail()
    with Log() as log:
        Play(trail, provider, api).all()

    lines = log.lines()
    # With DEBUG, Django logs every statement with its parameters, which are digests.
    without_sql = {place: line for place, line in lines.items() if "django.db.backends" not in place}
    secrets = trail.secrets
    assert len(secrets) > 20
    assert leaks(database(), secrets) == []
    assert leaks(lines, secrets) == []
    assert leaks(without_sql, digests()) == []
    private = {**secrets, **digests(), "an address": EMAIL, "the subject": SUBJECT}
    assert leaks({"events": str(events())}, private) == []
    assert mails(secrets) == []
    rows = [row for model in apps.get_app_config("ninja_auth_kit_oidc").get_models() for row in model.objects.all()]
    assert rows
    assert leaks({str(row.pk): f"{row!r} {row}" for row in rows}, {**secrets, "subject": SUBJECT}) == []
    assert len(lines) > 10


def test_no_object_says_its_secret(api: Api, user: Any, provider: FakeProvider) -> None:
    started = begin(api)
    one = find_provider("example")
    flow = flows.read_flow(started["flow_token"], one, session=None)
    parameters = exchange.CallbackParameters("the-code-of-it", flow.state, None)
    request = http_client.ProviderRequest("https://x.example", {"code": "the-code-of-it"}, ("a", SECRET), "the-bearer")
    said = {type(it).__name__: f"{it!r} {it}" for it in (one, flow, parameters, request, link(user))}
    secrets = {
        "secret": SECRET,
        "verifier": flow.verifier,
        "nonce": flow.nonce,
        "state": flow.state[2:],
        "code": "the-code-of-it",
        "bearer": "the-bearer",
        "subject": SUBJECT,
    }
    assert leaks(said, secrets) == []


@pytest.mark.security("OIDC-12", "CFG-04", "AUD-03")
@pytest.mark.parametrize("error", [RuntimeError, OperationalError])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (exchange, "identity_of"),
        (exchange, "verify_id_token"),
        (exchange, "parse"),
        (exchange, "keys_of"),
        (exchange, "client_secret"),
        (services, "log_in"),
        (login, "finish_login"),
        (login, "use_identity"),
        (models, "is_digest_of"),
        (flows, "read_ticket"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_no_error_report_has_a_secret(
    api: Api, user: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Any
) -> None:
    link(user)
    trail = Trail()
    play = Play(trail, provider, api)
    started, returned = play.begin()

    def fail(*_: Any, **__: Any) -> Any:
        raise error("planted")

    with monkeypatch.context() as patched, Log() as log:
        patched.setattr(module, name, fail)
        response = api.post("oidc/example/finish", {"flow_token": started["flow_token"], **returned})

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


@pytest.mark.security("OIDC-12")
@pytest.mark.parametrize("lie", ["signature", "aud", "no_id_token"])
def test_the_log_of_a_refusal_has_no_secret(api: Api, user: Any, on_loopback: Any, lie: str) -> None:
    with Provider(lie=lie) as hostile, Log() as log:
        on_loopback(test=hostile.config())
        started = begin(api, "test")
        returned = hostile.authorize(started["authorization_url"])
        api.post("oidc/test/finish", {"flow_token": started["flow_token"], **returned})
        secrets = {"code": returned["code"], "secret": hostile.client_secret, "state": returned["state"]}
    assert leaks(log.lines(), secrets) == []  # type: ignore[arg-type]
