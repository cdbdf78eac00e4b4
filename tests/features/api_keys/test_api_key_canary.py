"""A marker in each key: none is in a log, an event, an email, a report or the database."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from ninja_auth_kit.contrib.api_keys import models, services
from tests.attacks.canaries import Log, Trail, database, digests, leaks, mails
from tests.conftest import EMAIL, Api, events
from tests.features.api_keys.conftest import READ, ROUTE, ROUTES, create

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack]


def remembered(trail: Trail, key: str) -> str:
    """Remember a key, whole and by its secret part alone."""
    trail.secrets[f"secret of key {len(trail.secrets)}"] = key[27:]
    return trail.token(f"key {len(trail.secrets)}", key)


@pytest.mark.security("KEY-01", "AUD-03", "AUD-04")
@pytest.mark.parametrize("debug", [False, True])
def test_no_key_is_anywhere_but_in_the_answer_that_shows_it(
    user: Any, kit: Callable[..., None], settings: Settings, audited: None, debug: bool
) -> None:
    kit(AUDIT_EMBEDDED_RELAY=False)
    settings.DEBUG = debug
    trail, api = Trail(), Api()
    with Log() as log:
        token = api.pair()["access_token"]
        made = create(api, token).json()
        key = remembered(trail, made["key"])
        remembered(trail, create(api, token, expires_in=1).json()["key"])
        for route in (*ROUTES, "/notes/write", "/notes/anyone"):
            for sent in (key, key[:-1], key[:-4] + "AAAA", f"{key} {key}"):
                api.get(route, token=sent)
        for path in ("me", "api-keys"):
            api.get(path, token=key)
        api.post("refresh", {"refresh_token": key})
        api.post("login", {"email": EMAIL, "password": key})
        create(api, token, name=key[:64], scopes=[key])
        api.get(f"api-keys/{key}", token=token)
        api.get("api-keys", token=token)
        api.delete(f"api-keys/{made['id']}", token=token)

    lines = log.lines()
    # A path and a password that are wrong are not kept either. Django logs the path of a 404.
    told = {place: line for place, line in lines.items() if f"api-keys/{key}" not in line}
    without_sql = {place: line for place, line in told.items() if "django.db.backends" not in place}
    assert len(lines) > 10
    assert leaks(database(), trail.secrets) == []
    assert leaks(told, trail.secrets) == []
    assert leaks(without_sql, digests()) == []
    assert leaks({"events": str(events())}, {**trail.secrets, **digests(), "an address": EMAIL}) == []
    assert mails(trail.secrets) == []


@pytest.mark.security("CFG-04", "AUD-03")
@pytest.mark.parametrize("error", [RuntimeError, OperationalError])
@pytest.mark.parametrize(
    ("module", "name", "is_creation"),
    [
        (models, "digest", True),
        (services.signals.api_key_created, "announce", True),
        (services, "promise_notice", True),
        (models, "is_digest_of", False),
        (services, "may_authenticate", False),
        (services, "_note_use", False),
    ],
    ids=["digest", "announce", "notice", "comparison", "user", "use"],
)
def test_no_error_report_has_a_key(
    user: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, is_creation: bool, error: type[Exception]
) -> None:
    api, trail, made = Api(), Trail(), list[str]()
    token = api.pair()["access_token"]
    key = remembered(trail, create(api, token).json()["key"])
    issue = models.ApiKey.objects.issue

    def watched(*args: Any, **kwargs: Any) -> Any:
        row, text = issue(*args, **kwargs)
        made.append(text)
        return row, text

    def fail(*_: Any, **__: Any) -> Any:
        raise error("planted")

    with monkeypatch.context() as patched, Log() as log:
        patched.setattr(models.ApiKey.objects, "issue", watched)
        patched.setattr(module, name, fail)
        response = create(api, token, scopes=[READ]) if is_creation else api.get(ROUTE, token=key)

    assert response.status_code in {500, 503}
    for text in made:
        remembered(trail, text)
    failures = [record for record in log.records if record.exc_info and record.exc_info[0] is not None]
    assert failures
    reports = {}
    for number, record in enumerate(failures):
        reporter = ExceptionReporter(getattr(record, "request", None), *record.exc_info)  # type: ignore[misc]
        reports[f"text {number}"] = reporter.get_traceback_text()
        reports[f"page {number}"] = reporter.get_traceback_html()
    assert any("planted" in text for text in reports.values())
    # The endpoints of the kit hide the request. Django hides the header of one to a route of the project.
    assert leaks({**reports, **log.lines(), "answer": response.content.decode()}, trail.secrets) == []
