"""Round trips to PostgreSQL: how many an operation needs, and what holds although BEGIN and COMMIT travel along."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ninja_auth_kit import signals
from ninja_auth_kit.audit.custom_events import audit_event
from ninja_auth_kit.conf import DEFAULT_THROTTLES, accounts_database
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import UserSessionManager
from ninja_auth_kit.short_transaction import MOST_ROWS, insert_last, short_atomic
from tests.conftest import EMAIL, Api, event_names
from tests.round_trips import CountingProxy, counted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]


@audit_event("round.trip")
class Noticed:
    """An event of the project."""


@pytest.fixture
def proxy(user: Any, audited: None) -> Iterator[CountingProxy]:
    """Use a kept connection whose round trips are counted."""
    with counted(accounts_database()) as through:
        yield through


def trips(proxy: CountingProxy, work: Callable[[], Any]) -> int:
    """Return how many round trips work needs, when everything that is read once has been read."""
    before = proxy.round_trips
    work()
    return proxy.round_trips - before


def sessions_active() -> int:
    return UserSession.objects.filter(is_active=True).count()


@pytest.fixture
def in_transaction() -> Iterator[Callable[[Callable[..., None]], None]]:
    """Return a function that connects a receiver to refreshes, which runs inside their transaction."""
    connected: list[Callable[..., None]] = []
    signal = signals.token_refreshed.in_transaction

    def connect(receiver: Callable[..., None]) -> None:
        connected.append(receiver)
        signal.connect(receiver)

    yield connect
    for receiver in connected:
        signal.disconnect(receiver)


# Round trips on the wire


def test_a_refresh_and_a_logout_need_three_round_trips(proxy: CountingProxy, api: Api) -> None:
    token = api.pair()["refresh_token"]

    def refresh() -> None:
        nonlocal token
        answer = api.post("refresh", {"refresh_token": token})
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]

    refresh()
    assert trips(proxy, refresh) == 3
    assert trips(proxy, lambda: api.post("logout", {"refresh_token": token})) == 3
    assert event_names() == ["session.logged_in", "session.refreshed", "session.refreshed", "session.logged_out"]


def test_a_login_that_ends_another_session_needs_eight_round_trips(
    proxy: CountingProxy, api: Api, kit: Callable[..., None]
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    api.pair()
    api.pair()
    assert trips(proxy, api.pair) == 8
    assert event_names()[-2:] == ["session.revoked", "session.logged_in"]
    assert sessions_active() == 1


def test_a_session_that_is_logged_out_while_a_login_replaces_it_ends_once(
    proxy: CountingProxy, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, read = api.pair()["refresh_token"], UserSessionManager.lock_user_and_read_active

    def read_and_log_out(self: UserSessionManager, pk: Any) -> tuple[Any, list[UserSession]]:
        found = read(self, pk)
        assert api.post("logout", {"refresh_token": token}).status_code == 204
        return found

    monkeypatch.setattr(UserSessionManager, "lock_user_and_read_active", read_and_log_out)
    api.pair()

    assert event_names() == ["session.logged_in", "session.logged_out", "session.logged_in"]
    assert sessions_active() == 1


def test_a_session_that_is_refreshed_after_a_login_has_read_it_is_not_ended_as_expired(
    user: Any, api: Api, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(SESSION_LIMIT=2, REFRESH_TOKEN_LIFETIME=timedelta(minutes=1))
    read = UserSessionManager.lock_user_and_read_active
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = api.pair()["refresh_token"]
        clock.shift(59)

        def read_and_refresh(self: UserSessionManager, pk: Any) -> tuple[Any, list[UserSession]]:
            found = read(self, pk)
            assert api.post("refresh", {"refresh_token": token}).status_code == 200
            clock.shift(2)
            return found

        monkeypatch.setattr(UserSessionManager, "lock_user_and_read_active", read_and_refresh)
        api.pair()
        assert sessions_active() == 2


def test_a_refresh_without_an_outbox_needs_three_round_trips(user: Any, api: Api) -> None:
    with counted(accounts_database()) as proxy:
        first = api.pair()["refresh_token"]
        second = api.post("refresh", {"refresh_token": first}).json()["refresh_token"]
        assert trips(proxy, lambda: api.post("refresh", {"refresh_token": second})) == 3


@pytest.mark.security("CRED-05", "CRED-06")
def test_the_password_of_a_registration_needs_as_many_round_trips_whoever_has_the_address(
    proxy: CountingProxy, api: Api, kit: Callable[..., None]
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    needed = []
    for email in (EMAIL, "free@example.com"):
        api.register(email, "the password of a newcomer", username=f"newcomer_{email[:4]}")

        def log_in(email: str = email) -> None:
            assert api.login(email, "the password of a newcomer").status_code == 403

        log_in()
        needed.append(trips(proxy, log_in))

    assert needed[0] == needed[1]


def test_a_login_whose_cursor_accepts_one_statement_at_a_time_needs_twelve(
    user: Any, audited: None, api: Api, kit: Callable[..., None]
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    with counted(accounts_database(), server_side_binding=True) as proxy:
        api.pair()
        api.pair()
        assert trips(proxy, api.pair) == 12


@pytest.mark.parametrize(
    "options", [{"server_side_binding": True}, {"isolation_level": IsolationLevel.SERIALIZABLE}], ids=str
)
def test_where_begin_and_commit_cannot_travel_along_they_are_sent_by_themselves(
    user: Any, audited: None, api: Api, options: dict[str, Any]
) -> None:
    with counted(accounts_database(), **options) as proxy:
        first = api.pair()["refresh_token"]
        second = api.post("refresh", {"refresh_token": first}).json()["refresh_token"]
        assert trips(proxy, lambda: api.post("refresh", {"refresh_token": second})) == 5
        assert api.post("logout", {"refresh_token": second}).status_code == 204
        assert not sessions_active()


def test_a_connection_whose_cursors_a_package_has_replaced_is_sent_what_it_was_sent_before(
    proxy: CountingProxy, api: Api
) -> None:
    traced: list[str] = []
    opened = connections[accounts_database()].connection

    class Traced(opened.cursor_factory):  # type: ignore[misc,name-defined]
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            traced.append(str(query).split()[0])
            return super().execute(query, *args, **kwargs)

    first = api.pair()["refresh_token"]
    second = api.post("refresh", {"refresh_token": first}).json()["refresh_token"]
    opened.cursor_factory = Traced
    assert trips(proxy, lambda: api.post("refresh", {"refresh_token": second})) == 5
    assert traced == ["SELECT", "UPDATE", "WITH"]


def test_in_a_transaction_of_the_project_a_refresh_is_a_savepoint(proxy: CountingProxy, api: Api) -> None:
    token = api.pair()["refresh_token"]
    using = accounts_database()
    with suppress(ZeroDivisionError), transaction.atomic(using=using):
        assert api.post("refresh", {"refresh_token": token}).status_code == 200
        assert event_names() == ["session.logged_in", "session.refreshed"]
        raise ZeroDivisionError
    assert event_names() == ["session.logged_in"]
    assert UserSession.objects.get().generation == 0


def test_a_project_without_autocommit_commits_by_itself(proxy: CountingProxy, api: Api) -> None:
    token, using = api.pair()["refresh_token"], accounts_database()
    transaction.set_autocommit(False, using=using)
    try:
        assert api.post("refresh", {"refresh_token": token}).status_code == 200
        transaction.rollback(using=using)
    finally:
        transaction.set_autocommit(True, using=using)
    assert UserSession.objects.get().generation == 0


# What others see


def test_wrappers_see_each_statement_as_it_was_written(proxy: CountingProxy, api: Api) -> None:
    token, seen = api.pair()["refresh_token"], []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql.split()[0])
        result = execute(sql, *rest)
        seen.append(str(rest[2]["cursor"].rowcount))
        return result

    with connections[accounts_database()].execute_wrapper(watch):
        api.post("refresh", {"refresh_token": token})

    assert seen == ["SELECT", "1", "UPDATE", "1", "WITH", "1"]


def test_statements_around_the_last_one_are_part_of_the_transaction(proxy: CountingProxy, api: Api) -> None:
    token, using = api.pair()["refresh_token"], accounts_database()

    def comment(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        if "INSERT" in sql:
            with connections[using].cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.execute("SELECT generation FROM ninja_auth_kit_usersession")
                assert cursor.fetchone() == (1,)
        execute(f"{sql} /* of the project */ ", parameters, *rest)
        raise ZeroDivisionError

    with connections[using].execute_wrapper(comment):
        assert api.post("refresh", {"refresh_token": token}).status_code == 500

    assert UserSession.objects.get().generation == 0


def test_the_log_of_queries_has_each_statement(proxy: CountingProxy, api: Api) -> None:
    token = api.pair()["refresh_token"]
    with CaptureQueriesContext(connections[accounts_database()]) as captured:
        api.post("refresh", {"refresh_token": token})

    assert [query["sql"].split()[0] for query in captured] == ["SELECT", "BEGIN", "BEGIN;", "WITH", "COMMIT"]


# Receivers inside the transaction


def test_a_receiver_finds_the_event_and_its_own_comes_after_it(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    found = []

    def receive(**_: Any) -> None:
        Noticed.announce()
        found.extend(event_names())

    in_transaction(receive)
    api.post("refresh", {"refresh_token": api.pair()["refresh_token"]})

    assert found == ["session.logged_in", "session.refreshed", "host.round.trip"]
    assert event_names() == found


def test_events_of_one_action_are_inserted_together(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    first = api.pair()["refresh_token"]
    second = api.post("refresh", {"refresh_token": first}).json()["refresh_token"]
    in_transaction(lambda **_: Noticed.announce())

    assert trips(proxy, lambda: api.post("refresh", {"refresh_token": second})) == 3
    assert event_names()[-2:] == ["session.refreshed", "host.round.trip"]


def test_any_number_of_events_is_inserted_in_their_order(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    def receive(**_: Any) -> None:
        for _n in range(2 * MOST_ROWS):
            Noticed.announce()

    in_transaction(receive)
    token = api.pair()["refresh_token"]

    assert trips(proxy, lambda: api.post("refresh", {"refresh_token": token})) == 5
    assert event_names() == ["session.logged_in", "session.refreshed", *["host.round.trip"] * 2 * MOST_ROWS]


def test_an_event_that_a_receiver_rolls_back_is_not_recorded(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    def receive(**_: Any) -> None:
        with suppress(ZeroDivisionError), transaction.atomic(using=accounts_database()):
            Noticed.announce()
            raise ZeroDivisionError

    in_transaction(receive)
    assert api.post("refresh", {"refresh_token": api.pair()["refresh_token"]}).status_code == 200

    assert event_names() == ["session.logged_in", "session.refreshed"]


def test_a_receiver_that_has_spoilt_the_transaction_rolls_the_action_back(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    def receive(**_: Any) -> None:
        transaction.set_rollback(True, using=accounts_database())

    in_transaction(receive)
    token = api.pair()["refresh_token"]
    api.post("refresh", {"refresh_token": token})

    assert UserSession.objects.get().generation == 0
    assert event_names() == ["session.logged_in"]


def test_a_statement_that_a_receiver_lets_fail_rolls_the_action_back(
    proxy: CountingProxy, api: Api, in_transaction: Callable[..., None]
) -> None:
    def receive(**_: Any) -> None:
        with suppress(DatabaseError), connections[accounts_database()].cursor() as cursor:
            cursor.execute("SELECT nonsense")
        Noticed.announce()

    in_transaction(receive)
    assert api.post("refresh", {"refresh_token": api.pair()["refresh_token"]}).status_code == 500

    assert UserSession.objects.get().generation == 0
    assert event_names() == ["session.logged_in"]


# Errors


def run(sql: str) -> None:
    with connections[accounts_database()].cursor() as cursor:
        cursor.execute(sql)


def insertion(rows: list[str]) -> tuple[str, dict[str, Any]]:
    return rows[0], {}


def last(sql: str) -> None:
    insert_last(insertion, sql, using=accounts_database())


def is_usable() -> bool:
    """Return whether the connection is outside of a transaction and executes and commits statements."""
    connection = connections[accounts_database()]
    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    with short_atomic():
        run("CREATE TEMPORARY TABLE is_usable ()")
    run("DROP TABLE is_usable")
    return connection.connection.info.transaction_status.name == "IDLE"


@pytest.fixture
def numbers(proxy: CountingProxy) -> Iterator[Callable[[], list[int]]]:
    """Create a table whose numbers are unique, those of `late` at the commit, and return a function that reads it."""
    using = accounts_database()
    run("CREATE TABLE round_trips (n int PRIMARY KEY, late int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    run("INSERT INTO round_trips VALUES (1, 1)")

    def read() -> list[int]:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT n FROM round_trips ORDER BY n")
            return [n for (n,) in cursor.fetchall()]

    yield read
    run("DROP TABLE round_trips")


@pytest.fixture
def committed() -> list[str]:
    """Return what `on_commit` callbacks have noted."""
    return []


def note_commit(committed: list[str]) -> None:
    transaction.on_commit(lambda: committed.append("committed"), using=accounts_database())


def test_callbacks_run_when_the_last_statement_is_committed(
    numbers: Callable[[], list[int]], committed: list[str], proxy: CountingProxy
) -> None:
    def work() -> None:
        with short_atomic():
            run("INSERT INTO round_trips VALUES (2)")
            note_commit(committed)
            last("INSERT INTO round_trips VALUES (3)")
            assert not committed

    assert trips(proxy, work) == 2
    assert (committed, numbers()) == (["committed"], [1, 2, 3])


def test_one_statement_alone_is_one_round_trip(numbers: Callable[[], list[int]], proxy: CountingProxy) -> None:
    def work() -> None:
        with short_atomic():
            last("INSERT INTO round_trips VALUES (2)")

    assert trips(proxy, work) == 1
    assert numbers() == [1, 2]


def test_a_violation_is_raised_by_the_first_statement(numbers: Callable[[], list[int]], committed: list[str]) -> None:
    def work() -> None:
        with short_atomic():
            note_commit(committed)
            with pytest.raises(IntegrityError, match="round_trips_pkey") as violation:
                run("INSERT INTO round_trips VALUES (1)")
            raise violation.value

    with pytest.raises(IntegrityError):
        work()

    assert (committed, numbers()) == ([], [1])
    assert is_usable()


@pytest.mark.parametrize(
    ("values", "violated"), [("(1, 2)", "round_trips_pkey"), ("(3, 1)", "round_trips_late_key")], ids=["now", "late"]
)
def test_a_violation_by_the_last_statement_or_by_the_commit_ends_the_block(
    numbers: Callable[[], list[int]], committed: list[str], values: str, violated: str
) -> None:
    def work() -> None:
        with short_atomic():
            run("INSERT INTO round_trips VALUES (2, 2)")
            note_commit(committed)
            last(f"INSERT INTO round_trips VALUES {values}")

    with pytest.raises(IntegrityError, match=violated):
        work()

    assert (committed, numbers()) == ([], [1])
    assert is_usable()


def test_a_failed_statement_that_is_caught_in_a_savepoint_does_not_end_the_block(
    numbers: Callable[[], list[int]], committed: list[str]
) -> None:
    with short_atomic():
        with suppress(IntegrityError), transaction.atomic(using=accounts_database()):
            run("INSERT INTO round_trips VALUES (1)")
        note_commit(committed)
        last("INSERT INTO round_trips VALUES (2)")

    assert (committed, numbers()) == (["committed"], [1, 2])


def test_a_statement_that_could_not_be_written_is_not_the_first_one(numbers: Callable[[], list[int]]) -> None:
    with suppress(ZeroDivisionError), short_atomic():
        with suppress(DatabaseError), connections[accounts_database()].cursor() as cursor:
            cursor.execute("SELECT %s", [object()])
        with connections[accounts_database()].cursor() as cursor:
            cursor.executemany("INSERT INTO round_trips VALUES (%s)", [[2], [3]])
        assert numbers() == [1, 2, 3]
        raise ZeroDivisionError

    assert numbers() == [1]
    assert is_usable()


@pytest.mark.parametrize("atomic", [short_atomic, transaction.atomic])
def test_a_connection_that_is_killed_in_the_transaction_is_an_operational_error(
    numbers: Callable[[], list[int]], committed: list[str], atomic: Callable[..., Any]
) -> None:
    using = accounts_database()
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    other = connections[using].copy()

    def work() -> None:
        with atomic():
            run("INSERT INTO round_trips VALUES (2)")
            note_commit(committed)
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
            last("INSERT INTO round_trips VALUES (3)")

    with pytest.raises(OperationalError):
        work()
    other.close()

    assert (committed, numbers()) == ([], [1])
    assert is_usable()


@pytest.mark.parametrize("atomic", [short_atomic, transaction.atomic])
def test_a_connection_that_is_lost_while_it_commits_is_an_operational_error_and_may_have_committed(
    numbers: Callable[[], list[int]], committed: list[str], proxy: CountingProxy, atomic: Callable[..., Any]
) -> None:
    proxy.loses_answer_to = b"COMMIT"

    def work() -> None:
        with atomic():
            run("INSERT INTO round_trips VALUES (2)")
            note_commit(committed)
            last("INSERT INTO round_trips VALUES (3)")

    with pytest.raises(OperationalError):
        work()

    assert (committed, numbers()) == ([], [1, 2, 3])
    assert is_usable()
