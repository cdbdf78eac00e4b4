"""Neither the statements nor the time of a request show whether an account has the address."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from ninja_auth_kit.conf import DEFAULT_THROTTLES, accounts_database
from ninja_auth_kit.contrib.email_code import models
from ninja_auth_kit.contrib.email_code.models import LoginCode
from ninja_auth_kit.models import PromisedEmail, ThrottleBucket
from tests.conftest import Api
from tests.features.email_code.conftest import WRONG, ask, ask_and_read, log_in
from tests.servers import Server
from tests.test_enumeration import BOUND, SAMPLES

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = ("verified", "elsewhere", "pending", "disabled", "nobody")


@pytest.fixture(params=[False, True], ids=["login only", "registers"])
def addresses(
    request: pytest.FixtureRequest, make_user: Callable[..., Any], kit: Callable[..., None], audited: None
) -> list[str]:
    """Return an address of each kind, while the limits apply that apply by default."""
    kit(THROTTLES={**DEFAULT_THROTTLES, "mail_recipient": "", "request_network": "600/m", "mail_network": "600/m"})
    kit(EMAIL_CODE={"REGISTERS": request.param})
    make_user("verified@example.com")
    make_user("elsewhere@example.com").authkit_email.delete()
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    return [f"{kind}@example.com" for kind in KINDS]


def statements(call: Callable[[], Any]) -> list[str]:
    """Return the beginnings of the statements of a call, without those of transactions."""
    with CaptureQueriesContext(connection) as captured:
        call()
    ends = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")
    sent = [query["sql"].removeprefix("BEGIN; ") for query in captured]
    return [" ".join(statement.split())[:40] for statement in sent if not statement.startswith(ends)]


@pytest.mark.security("CODE-01")
def test_a_request_costs_as_many_statements_for_every_address(
    api: Api, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ninja_auth_kit.emails.after_answer", lambda *args, **kwargs: None)

    costs = [statements(lambda email=email: ask(api, email)) for email in addresses]

    assert len(costs[0]) == 4  # the limits, the look-up, the event, the promise
    assert costs == [costs[0]] * len(KINDS)


@pytest.mark.security("CODE-01")
def test_the_email_for_an_unknown_address_asks_the_same_tables(api: Api, addresses: list[str]) -> None:
    names = {model._meta.db_table for model in (ThrottleBucket, PromisedEmail, LoginCode)}
    asked = []
    for email in addresses:
        with CaptureQueriesContext(connections[accounts_database()]) as queries:
            ask(api, email)
        asked.append([name for query in queries for name in sorted(names) if f'"{name}"' in query["sql"]])

    buckets, promised, codes = ThrottleBucket, PromisedEmail, LoginCode
    expected = [one._meta.db_table for one in (buckets, promised, promised, buckets, codes, promised)]
    assert asked == [expected] * len(KINDS)


@pytest.mark.security("CODE-01")
def test_a_wrong_code_costs_as_many_statements_whether_or_not_one_was_emailed(
    api: Api, addresses: list[str], kit: Callable[..., None]
) -> None:
    kit(EMAIL_CODE={"REGISTERS": True})
    wrong: list[list[list[str]]] = []
    for email in addresses:
        challenge = ask(api, email)
        # The fifth uses the challenge up, and the sixth meets that.
        wrong.append([statements(lambda one=challenge: log_in(api, one, WRONG)) for _ in range(6)])

    assert [len(one) for one in wrong[0]] == [4, 4, 4, 4, 5, 4]
    assert wrong == [wrong[0]] * len(KINDS)


@pytest.mark.security("CODE-01", "CODE-06")
def test_a_refusal_by_the_limit_costs_as_many_statements_for_every_address(
    api: Api, addresses: list[str], kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"code_account": "1/15m"})
    refused = []
    for email in addresses:
        challenge = ask(api, email)
        elsewhere = Api(REMOTE_ADDR="203.0.113.9")
        assert log_in(elsewhere, challenge, WRONG).status_code == 401
        assert log_in(elsewhere, challenge, WRONG).status_code == 429  # the first one is announced
        refused.append(statements(lambda one=challenge, client=elsewhere: log_in(client, one, WRONG)))

    assert refused == [refused[0]] * len(KINDS)


@pytest.mark.security("CODE-01")
def test_a_wrong_code_is_compared_whether_or_not_one_was_emailed(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    compare = models.is_digest_of

    def counted(stored: str, label: str, value: str) -> bool:
        compared.append(label)
        return compare(stored, label, value)

    monkeypatch.setattr(models, "is_digest_of", counted)
    counts = []
    for email in ("ada@example.com", "nobody@example.com"):
        challenge = ask(api, email)
        compared.clear()
        assert log_in(api, challenge, WRONG).status_code == 401
        counts.append(list(compared))

    assert counts[0] == counts[1] == ["login code"]


def test_a_login_by_code_that_ends_another_session_costs_ten(
    api: Api, user: Any, audited: None, kit: Callable[..., None]
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    api.login()
    challenge, code = ask_and_read(api)

    found = statements(lambda: log_in(api, challenge, code))

    assert len(found) == 10, "\n".join(found)


@pytest.mark.race
@pytest.mark.security("CODE-01")
def test_requests_and_wrong_codes_take_as_long_for_every_address(
    servers: Callable[..., Server], make_user: Callable[..., Any]
) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    server = servers(
        environment={"TEST_MAIL_BACKEND": "tests.slow_mail.EmailBackend"},
        EMAIL_CODE={"REGISTERS": True},
        THROTTLES={"code_account": ""},
    )
    emails = [f"{kind}@example.com" for kind in ("verified", "pending", "disabled", "nobody")]
    requests: dict[str, list[float]] = {email: [] for email in emails}
    tries: dict[str, list[float]] = {email: [] for email in emails}
    challenges = dict.fromkeys(emails, "")

    def timed(path: str, body: dict[str, str], status: int, times: list[float]) -> Any:
        start = time.perf_counter()
        found, answer = server.request("POST", f"/api/auth/{path}", body)
        times.append(time.perf_counter() - start)
        assert found == status
        return answer

    for number, email in itertools.product(range(SAMPLES + 5), emails):
        if number % 4 == 0:
            answer = timed("login/email-code/request", {"email": email}, 202, requests[email])
            challenges[email] = answer["challenge_token"]
        timed("login/email-code", {"challenge_token": challenges[email], "code": WRONG}, 401, tries[email])

    for samples in (requests, tries):
        medians = {email: statistics.median(times[1:]) for email, times in samples.items()}
        assert max(medians.values()) - min(medians.values()) < BOUND, medians
