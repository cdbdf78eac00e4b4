"""Faults of replicated databases: failovers, a replica that lags, a server that accepts no writes."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.case import BATCH, Case
from tests.faults.database import PrivateDatabase
from tests.faults.processes import WebServer
from tests.faults.seed import PASSWORD, USER
from tests.faults.web import get, post, sign_in

pytestmark = pytest.mark.private_broker
# A relay does not wait until its deletions are on the disk of either server (synchronous_commit is off). What it has
# published in the last second before a failover is published again.
LATEST = 20 * BATCH
NEW_PASSWORD = "another battery staple of a horse"
OUTAGE = 20.0  # seconds, longer than the default of REFRESH_GRACE_PERIOD


class Promises:
    """What a server has acknowledged to the clients of `tests.faults.clients`."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.generations: dict[str, int] = said["generations"]
        self.ended: dict[str, list[str]] = said["ended"]
        self.live: list[str] = said["live"]
        self.refusals = Counter(said["refusals"])
        self.statuses = Counter({int(status): count for status, count in said["statuses"].items()})

    def lost(self, case: Case) -> Counter[str]:
        """Count what was acknowledged and is not in the database."""
        rows = {str(key): (generation, active) for key, generation, active in case.ledger.sql(_SESSIONS)}
        lost: Counter[str] = Counter()
        for session, generation in self.generations.items():
            lost["logins"] += session not in rows
            lost["refreshes"] += session in rows and rows[session][0] < generation
        lost["logouts"] = sum(rows.get(session, (0, False))[1] for session in self.ended)
        return +lost


_SESSIONS = "SELECT id, generation, is_active FROM ninja_auth_kit_usersession"
_SESSION = "SELECT is_active FROM ninja_auth_kit_usersession WHERE id = '%s'"
_REFRESHES = """
SELECT coalesce(sum(generation), 0) FROM ninja_auth_kit_usersession AS session JOIN auth_user ON auth_user.id = user_id
WHERE username LIKE 'visitor%'
"""
_REUSED = "SELECT count(*) FROM ninja_auth_kit_usersession WHERE end_reason = 'reused'"


@contextlib.contextmanager
def clients(case: Case) -> Iterator[tuple[WebServer, list[Promises]]]:
    """Run the block while clients log in, refresh and log out. The list has their promises after the block."""
    promises: list[Promises] = []
    with case.serving() as web:
        process = case.start("clients", "tests.faults.clients", str(web.port))
        yield web, promises
        time.sleep(2)
        assert process.terminate() == 0, process.output
        promises.append(Promises(json.loads(process.output.splitlines()[-1])))
        case.note(
            "answers " + ", ".join(f"{status}: {count}" for status, count in sorted(promises[0].statuses.items()))
        )
        _check_tokens(web, promises[0])


def _refreshes(server: PrivateDatabase, case: Case) -> int:
    """Return how many refreshes of the clients a server has."""
    return int(str(server.execute(_REFRESHES, name=case.name)[0][0]))


def _check_tokens(web: WebServer, promises: Promises) -> None:
    """Assert that no answer is a server error, whatever was lost."""
    assert 500 not in promises.statuses
    for access, refresh in promises.ended.values():
        for status in (get(web, access), post(web, "refresh", refresh_token=refresh)[0]):
            assert status in {200, 401}


@pytest.mark.parametrize(
    ("outage", "grace"),
    [
        pytest.param(
            0.0, 10, marks=pytest.mark.fault(53, "Primary killed (kill -9), synchronous replica promoted at once")
        ),
        pytest.param(
            OUTAGE, None, marks=pytest.mark.fault(53, "The same after 20 s, with REFRESH_GRACE_PERIOD = None")
        ),
    ],
)
def test_a_synchronous_failover_loses_nothing_that_was_acknowledged(
    replicated: Callable[..., Case], outage: float, grace: int | None
) -> None:
    case = replicated(is_synchronous=True)
    case.kit["REFRESH_GRACE_PERIOD"] = grace
    case.start_relay()
    with clients(case) as (web, promises), case.writing():
        case.until_published(0.3)
        case.server.kill()
        time.sleep(outage)
        case.server.replica.promote()
        case.until(web.answers, "the web server responds")
    case.until_empty()

    (promised,) = promises
    assert not promised.lost(case)
    assert not promised.refusals
    assert promised.ended
    assert case.ledger.sql(_REUSED) == [(0,)]
    case.expect(duplicates=LATEST, errors=True)


@pytest.mark.fault(54, "Primary killed (kill -9), asynchronous replica promoted that lacks the last seconds")
def test_an_asynchronous_failover_loses_the_last_seconds_and_nothing_is_inconsistent(
    replicated: Callable[..., Case],
) -> None:
    case = replicated()
    case.start_relay()
    with clients(case) as (web, promises), case.writing(rate=500):
        case.until_published(0.2)
        revoked = sign_in(web, USER)
        case.until(
            lambda: bool(case.server.replica.execute(_SESSION % revoked["session_id"], name=case.name)), "a login"
        )
        case.server.replica.wire.cut()
        assert post(web, "logout", refresh_token=revoked["refresh_token"])[0] == 204
        case.until(
            lambda: _refreshes(case.server, case) >= _refreshes(case.server.replica, case) + 20, "the cut costs"
        )
        case.server.kill()
        case.server.replica.promote()
        case.until(web.answers, "the web server responds")
    case.until_empty()

    (promised,) = promises
    lost = promised.lost(case)
    case.note("lost " + ", ".join(f"{count} {what}" for what, count in sorted(lost.items())))
    assert lost["logins"] + lost["refreshes"]
    assert case.ledger.sql(_SESSION % revoked["session_id"]) == [(True,)]  # the logout is lost, too
    case.run("django", "authkit_revoke", "--everyone")
    assert case.ledger.sql(_SESSION % revoked["session_id"]) == [(False,)]
    assert set(promised.refusals) == {"invalid_token"}  # each client logs in again; no session is ended as stolen
    assert case.ledger.sql(_REUSED) == [(0,)]
    case.expect(duplicates=LATEST, errors=True, uncommitted=True)


@pytest.mark.parametrize(
    "router",
    [
        pytest.param("ExceptUsers", marks=pytest.mark.fault(55, "A router sends reads to a replica that lags 10 s")),
        pytest.param(
            "Everything", marks=pytest.mark.fault(55, "The same with the reads of users and the kit's tables")
        ),
    ],
)
def test_no_revocation_lags_behind_with_a_replica(replicated: Callable[..., Case], router: str) -> None:
    case = replicated(lag=10)
    case.variables["TEST_ROUTER"] = router
    case.until(lambda: bool(case.server.replica.execute("SELECT 1", name=case.name)), "the replica has the database")
    case.start_relay()
    with case.serving() as web, case.writing(rate=100):
        for end in (_log_out, _log_out_everywhere, _end_by_the_command, _change_the_password):
            pair = sign_in(web, USER)
            assert get(web, pair["access_token"]) == 200  # of a session that the replica does not know yet
            status, successor = post(web, "refresh", refresh_token=pair["refresh_token"])
            assert status == 200
            end(case, web, successor)
            assert not _is_ended_on_replica(case, pair), "the replica does not lag"
            if end is not _change_the_password:  # the session that changes it stays
                assert get(web, pair["access_token"]) == 401
                assert post(web, "refresh", refresh_token=successor["refresh_token"])[0] == 401
        assert post(web, "login", email=USER, password=PASSWORD)[0] == 401
        status = post(web, "login", email=USER, password=NEW_PASSWORD)[0]
        assert status == (200 if router == "ExceptUsers" else 401)  # Django's backend reads the replica
        case.until(
            lambda: post(web, "login", email=USER, password=NEW_PASSWORD)[0] == 200, "the new password is right"
        )
    case.until_empty()
    case.expect()


def _log_out(_case: Case, web: WebServer, pair: dict[str, Any]) -> None:
    assert post(web, "logout", refresh_token=pair["refresh_token"])[0] == 204


def _log_out_everywhere(_case: Case, web: WebServer, pair: dict[str, Any]) -> None:
    assert post(web, "logout/all", token=pair["access_token"])[0] == 204


def _end_by_the_command(case: Case, _web: WebServer, _pair: dict[str, Any]) -> None:
    case.run("django", "authkit_revoke", USER)


def _change_the_password(_case: Case, web: WebServer, pair: dict[str, Any]) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert post(web, "password/change", token=pair["access_token"], **body)[0] == 204


def _is_ended_on_replica(case: Case, pair: dict[str, Any]) -> bool:
    return case.server.replica.execute(_SESSION % pair["session_id"], name=case.name) == [(False,)]


@pytest.mark.fault(56, "A server accepts no writes for 5 s, with persistent connections (CONN_MAX_AGE = None)")
def test_every_process_leaves_a_server_that_accepts_no_writes(case: Case) -> None:
    case.events = min(case.events, 3_000)
    case.variables |= {"TEST_SETTINGS": "tests.settings_replicated", "TEST_TARGET": "any"}
    case.start_relay()
    with clients(case) as (_web, promises), case.writing(rate=200):
        case.until_published(0.2)
        case.server.execute(f"ALTER DATABASE {case.name} SET default_transaction_read_only = on")
        case.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{case.name}'")
        time.sleep(5)
        case.server.execute(f"ALTER DATABASE {case.name} RESET default_transaction_read_only")
    case.until_empty()

    (promised,) = promises
    assert promised.statuses[503]
    assert not promised.lost(case)
    assert not promised.refusals
    case.expect(duplicates=BATCH, errors=True)
