"""The statements and transactions of a request, and compiled queries that return what the ORM does.

The time of a request is measured by `make bench`, and its function calls by `make hops`.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connections, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from jwt.algorithms import HMACAlgorithm

from benchmarks.peers.contender import Request
from benchmarks.peers.counting import django_statements
from benchmarks.peers.project import call
from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.models import EmailAddress, UserSession, users
from ninja_auth_kit.models.session_sql import FIELDS_OF_CHECK
from ninja_auth_kit.models.users import find_holders, find_user, lock_user, user_by_pk
from ninja_auth_kit.testing import issue_tokens
from ninja_auth_kit.tokens import password_fingerprint, refresh_token_digest
from tests.conftest import EMAIL, PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "/api/auth/"


def requests(operation: str, user: Any) -> Request:
    """Return a request of an operation. A refresh and a logout can be sent only once."""
    if operation == "login":
        return Request("POST", BASE + "login", {"email": EMAIL, "password": PASSWORD})
    tokens = issue_tokens(user)
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    return {
        "me": Request("GET", "/host/sync", headers=headers),
        "stateless": Request("GET", "/host/stateless", headers=headers),
        "refresh": Request("POST", BASE + "refresh", {"refresh_token": tokens.refresh_token}),
        "logout": Request("POST", BASE + "logout", {"refresh_token": tokens.refresh_token}),
    }[operation]


# The most statements of each operation, and the most statements that begin or end a transaction.
COSTS = {
    "me": (1, 0),
    "stateless": (0, 0),
    "refresh": (3, 2),
    "logout": (3, 2),
    "login": (7, 2),
}


@pytest.fixture
def kept_connection() -> Iterator[None]:
    """Keep the connection between requests, as CONN_MAX_AGE does."""
    ends = (request_started, request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)


@pytest.mark.parametrize("operation", COSTS)
@pytest.mark.usefixtures("kept_connection", "audited")
def test_an_operation_costs_no_more_than_it_did(operation: str, user: Any) -> None:
    application = get_wsgi_application()
    for _ in range(3):
        assert call(application, requests(operation, user))[0] < 300
    statements, transactions = COSTS[operation]

    request = requests(operation, user)
    with django_statements() as count:
        assert call(application, request)[0] < 300

    assert count.statements <= statements
    assert count.transactions <= transactions


@pytest.mark.usefixtures("kept_connection")
@pytest.mark.parametrize("operation", ["me", "stateless"])
def test_the_signature_of_a_token_that_comes_again_is_not_verified_again(
    operation: str, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, request = get_wsgi_application(), requests(operation, user)
    verified: list[bytes] = []
    verify = HMACAlgorithm.verify

    def spy(self: HMACAlgorithm, message: bytes, key: bytes, signature: bytes) -> bool:
        verified.append(message)
        return verify(self, message, key, signature)

    monkeypatch.setattr(HMACAlgorithm, "verify", spy)
    for _ in range(3):
        assert call(application, request)[0] == 200

    assert len(verified) == 1


def everybody() -> QuerySet[Any]:
    return get_user_model()._default_manager.using(accounts_database()).select_related("authkit_email")


def values(user: Any) -> Any:
    """Return the loaded values of a user and of the address that was loaded with it."""
    address = getattr(user, "authkit_email", None)
    rows = (user, address) if address is not None else (user,)
    return [{name: value for name, value in vars(row).items() if name != "_state"} for row in rows]


def test_a_kept_query_reads_what_the_orm_reads(make_user: Callable[..., Any]) -> None:
    make_user("ada@example.com", last_login=timezone.now())
    make_user("grace@example.com", verified=False)
    make_user("bare@example.com")
    EmailAddress.objects.filter(canonical="bare@example.com").delete()

    for user in everybody():
        assert values(user_by_pk(user.pk)) == values(user)
        assert values(lock_user(user.pk)) == values(user)
        assert values(find_user(user.email)) == values(user)
        (holder,) = find_holders(user.email)
        assert values(holder) == values(user)
    assert user_by_pk(everybody()[0].pk).authkit_email.canonical == "ada@example.com"
    assert find_holders("nobody@example.com") == []


def test_a_session_is_read_as_the_orm_reads_it_and_for_a_check_no_more_than_that(user: Any) -> None:
    session_id = issue_tokens(user).session_id
    expected = {name: value for name, value in vars(UserSession.objects.get()).items() if name != "_state"}

    whole, checked = UserSession.objects.load(session_id), UserSession.objects.load_for_check(session_id)

    assert whole is not None
    assert checked is not None
    assert {name: value for name, value in vars(whole).items() if name != "_state"} == expected
    assert {name for name in vars(checked) if name != "_state"} == set(FIELDS_OF_CHECK)
    assert checked.login_time == whole.login_time
    assert UserSession.objects.active_for(user) == [whole]
    with atomic():
        assert UserSession.objects.lock_user_and_read_active(user.pk) == (user, [whole])


@pytest.mark.parametrize("ip_address", ["2001:db8::7", "192.0.2.7", "", None])
def test_a_started_session_is_what_the_orm_would_have_stored(user: Any, ip_address: str | None) -> None:
    expires_at = timezone.now() + timedelta(days=7)
    session = UserSession(
        user=user,
        slot=3,
        refresh_token=refresh_token_digest("x", user_id=user.pk),
        auth_hash=password_fingerprint("x"),
        refresh_expires_at=expires_at,
        expires_at=expires_at + timedelta(days=7),
        ip_address=ip_address,
        user_agent='"; DROP {sessions} %s',
    )
    UserSession.objects.start(session, ending={})
    started = row(session)
    UserSession.objects.all().delete()
    session.save(force_insert=True)

    assert row(session) == started


def test_a_rotation_writes_to_no_index_however_often_one_refreshes(user: Any) -> None:
    session = UserSession.objects.load(issue_tokens(user).session_id)
    assert session is not None
    now, table = timezone.now(), UserSession._meta.db_table

    with transaction.atomic(using=accounts_database()), connections[accounts_database()].cursor() as cursor:
        for _ in range(3):
            token = refresh_token_digest(str(session.generation), user_id=user.pk)
            assert UserSession.objects.rotate(session, token=token, now=now, refresh_expires_at=now)
        cursor.execute("SELECT pg_stat_get_xact_tuples_hot_updated(%s::regclass)", [table])

        assert cursor.fetchone() == (3,)


def row(session: UserSession) -> dict[str, Any]:
    (values,) = UserSession.objects.filter(pk=session.pk).values()
    return values


def test_a_lock_is_held_on_the_user_and_on_nothing_else(user: Any) -> None:
    using = accounts_database()
    with transaction.atomic(using=using), CaptureQueriesContext(connections[using]) as captured:
        lock_user(user.pk)

    (lock,) = [query["sql"] for query in captured if " FOR " in query["sql"]]
    lock, _, address = lock.partition("; ")  # in one round trip
    assert lock.endswith(f'FOR NO KEY UPDATE OF "{get_user_model()._meta.db_table}"')
    assert " FOR " not in address


@pytest.mark.parametrize("table", ['"auth_user"', '"people"."auth_user"'])
def test_a_lock_names_a_table_without_its_schema(table: str) -> None:
    assert users._without_schema(table) == '"auth_user"'
