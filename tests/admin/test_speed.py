"""The admin's pages never count or scan a table, nor do more rows cause more queries."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ninja_auth_kit.models import AuditDeferred, AuditOutbox, BlacklistedToken, EmailAddress, UserSession
from tests.admin.conftest import MODELS, Pages, told
from tests.conftest import EMAIL

pytestmark = pytest.mark.django_db(transaction=True)
EVERY_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
ROWS = 1000  # the page size of the lists, which cannot be imported before the admin is installed
MANY = ROWS + 500
DIGEST = "v1$00000000$" + "0" * 56


@pytest.fixture
def fill(user: Any) -> Callable[..., None]:
    """Return a function that inserts many rows, all of one user if the table allows it."""

    def run(model: type[Model], many: int = MANY) -> None:
        made = _users(many) if model is EmailAddress else [user] * many
        model._base_manager.bulk_create(_row(model, number, owner) for number, owner in enumerate(made))

    return run


def _users(many: int) -> list[Any]:
    model = get_user_model()
    fields = [
        {"email": f"n{number}@example.org", model.USERNAME_FIELD: f"n{number}@example.org"} for number in range(many)
    ]
    return list(model._default_manager.bulk_create(model(**values) for values in fields))


def _row(model: type[Model], number: int, user: Any) -> Model:
    now, later = timezone.now(), timezone.now() + timedelta(seconds=number)
    digest = f"{DIGEST}{number:08x}"
    event = {
        "event_id": uuid.uuid4(),
        "shard": number % 16,
        "routing_key": "auth.session.login.success",
        "payload": "{}",
    }
    values: dict[type[Model], dict[str, Any]] = {
        UserSession: {
            "user": user,
            "is_active": number % 2 == 0,
            "logout_time": now if number % 2 else None,
            "refresh_token": digest,
            "refresh_expires_at": later,
            "expires_at": later,
            "auth_hash": digest,
        },
        BlacklistedToken: {"token": digest, "blacklisted_at": later},
        EmailAddress: {
            "user": user,
            "email": user.email,
            "canonical": user.email,
            "verified_at": now if number % 2 else None,
        },
        AuditOutbox: event,
        AuditDeferred: {**event, "id": number, "created_at": now, "state": "parked", "reason": "nacked"},
    }
    return model(**values[model])


def queries(call: Callable[[], Any]) -> list[str]:
    """Return the queries on the kit's tables."""
    with CaptureQueriesContext(connection) as captured:
        assert call().status_code == 200
    return [query["sql"] for query in captured if "ninja_auth_kit_" in query["sql"]]


def plan(sql: str) -> Iterator[dict[str, Any]]:
    """Return the nodes of a query's plan. PostgreSQL scans or sorts only if it has no other way."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        nodes = [cursor.fetchone()[0][0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        yield node


def scans(node: dict[str, Any]) -> bool:
    """Return whether a node reads a whole table of the kit."""
    return "Seq Scan" in node["Node Type"] and "ninja_auth_kit" in node["Relation Name"]


@EVERY_MODEL
def test_a_list_asks_for_so_many_rows_and_no_more(model: Any, pages: Pages, fill: Callable[..., None]) -> None:
    fill(model)

    asked = queries(lambda: pages.list(model))

    assert len(asked) == 2
    count, page = asked
    assert f"LIMIT {ROWS + 1}) subquery" in count
    assert page.endswith("LIMIT 100")
    for column in ("refresh_token", "auth_hash", '"token"', "payload", '"password"'):
        assert column not in count + page


@pytest.mark.parametrize(
    ("model", "query"),
    [
        *((model, {}) for model in MODELS),
        *((model, {"p": "10"}) for model in MODELS),
        (UserSession, {"live": "1"}),
        (EmailAddress, {"waits": "1"}),
    ],
)
def test_no_list_scans_or_sorts_a_table(
    model: Any, query: dict[str, str], pages: Pages, fill: Callable[..., None]
) -> None:
    fill(model)

    for sql in queries(lambda: pages.list(model, **query)):
        nodes = list(plan(sql))
        assert not any(scans(node) or node["Node Type"] == "Sort" for node in nodes), sql


@pytest.mark.parametrize("model", [UserSession, EmailAddress])
def test_no_search_scans_a_table(model: Any, pages: Pages, fill: Callable[..., None], user: Any) -> None:
    fill(model)

    for term in (EMAIL, str(user.pk), "6d2f7c4e-2d6e-4a43-b8f6-3f1a9e0c5b7d"):
        for sql in queries(lambda: pages.list(model, q=term)):  # noqa: B023  # called at once
            assert not any(scans(node) for node in plan(sql)), sql


@EVERY_MODEL
def test_more_rows_take_no_more_queries(model: Any, pages: Pages, fill: Callable[..., None]) -> None:
    with CaptureQueriesContext(connection) as few:
        pages.list(model)
    fill(model, 150)

    with CaptureQueriesContext(connection) as many:
        assert len(pages.list(model).context["cl"].result_list) == 100

    assert len(many) == len(few)


@EVERY_MODEL
def test_a_list_that_is_cut_says_so_and_ends_there(model: Any, pages: Pages, fill: Callable[..., None]) -> None:
    fill(model)

    first, last = pages.list(model), pages.list(model, p="10")

    assert f"Only the first {ROWS} rows are shown" in first.content.decode()
    assert len(last.context["cl"].result_list) == 100
    assert pages.list(model, p="11").status_code == 302


def test_a_list_that_is_whole_does_not(pages: Pages, rows: dict[Any, Any]) -> None:
    assert "Only the first" not in pages.list(UserSession).content.decode()


def test_facets_would_count_and_so_there_are_none(pages: Pages, fill: Callable[..., None]) -> None:
    fill(UserSession)

    assert len(queries(lambda: pages.list(UserSession, _facets="True"))) == 2


def test_all_that_a_page_offers_to_select_is_what_an_action_takes(
    pages: Pages, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("read_only", "sessions"):
        monkeypatch.setattr(f"ninja_auth_kit.admin.{module}.ROWS", 7)
    monkeypatch.setattr("ninja_auth_kit.admin.read_only.ReadOnlyAdmin.list_per_page", 5)
    fill(UserSession, 40)
    listed = [row.pk for page in "12" for row in pages.list(UserSession, p=page).context["cl"].result_list]
    (first, *_) = UserSession.objects.filter(pk__in=listed)
    active = set(UserSession.objects.filter(pk__in=listed, is_active=True).values_list("pk", flat=True))

    response = pages.act(UserSession, "end_selected", first, select_across="1")

    assert len(listed) == 7
    assert told(response) == [f"{len(active)} sessions were ended. {7 - len(active)} sessions had already ended."]
    assert set(UserSession.objects.filter(end_reason="revoked").values_list("pk", flat=True)) == active
