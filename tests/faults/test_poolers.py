"""Poolers and proxies between the kit and PostgreSQL: pgbouncer in both modes, and Pgpool-II."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import pooler
from tests.faults.case import Case
from tests.faults.pooler import Pgpool, Pooler
from tests.faults.seed import USER
from tests.faults.web import get, post, sign_in

pytestmark = pytest.mark.private_broker
PATTERN = "primary_routing_query_pattern_list = '.*(ninja_auth_kit_|auth_user).*'"


@pytest.fixture
def pgbouncer(case: Case) -> Iterator[Callable[..., Pooler]]:
    """Return a function that starts pgbouncer in front of the database of the case."""
    if not pooler.is_installed():
        pytest.skip(pooler.MISSING)
    started: list[Pooler] = []

    def start(**options: object) -> Pooler:
        started.append(Pooler(case.server.socket.parent, **options))  # type: ignore[arg-type]
        started[0].start()
        case.variables["DATABASE_URL"] = started[0].url(case.name)
        return started[0]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def pgpool() -> Iterator[Callable[..., Pgpool]]:
    """Return a function that starts Pgpool-II in front of the servers of a case."""
    if not pooler.is_pgpool_installed():
        pytest.skip(pooler.MISSING_PGPOOL)
    started: list[Pgpool] = []

    def start(case: Case, *sockets: Path, **options: object) -> None:
        started.append(Pgpool([case.server.socket.parent, *sockets], **options))  # type: ignore[arg-type]
        started[-1].start()
        case.variables["DATABASE_URL"] = started[-1].url(case.name)

    yield start
    for each in started:
        each.stop()


def _expect_every_event(case: Case) -> None:
    """Let two relays publish the events of the case while visitors log in and refresh."""
    for _ in range(2):
        case.start_relay("--batch", "50")
    with case.visiting(), case.writing():
        pass
    case.until_empty()
    case.expect()


@pytest.mark.fault(26, "pgbouncer in transaction mode for all processes")
def test_behind_a_pooler_shards_and_claims_work(case: Case, pgbouncer: Callable[..., Pooler]) -> None:
    pgbouncer(mode="transaction")
    case.kit["AUDIT_LISTEN"] = False
    _expect_every_event(case)


@pytest.mark.fault(57, "pgbouncer in session mode for all processes, with LISTEN and persistent connections")
def test_behind_a_pooler_in_session_mode_the_relay_listens(case: Case, pgbouncer: Callable[..., Pooler]) -> None:
    pgbouncer(mode="session", size=20)
    case.variables |= {"TEST_SETTINGS": "tests.settings_replicated", "TEST_TARGET": "any"}
    _expect_every_event(case)


@pytest.mark.fault(58, "Pgpool-II without load balancing for all processes, with LISTEN")
def test_behind_pgpool_everything_works(case: Case, pgpool: Callable[..., None]) -> None:
    pgpool(case, settings=["load_balance_mode = off"])
    _expect_every_event(case)


@pytest.mark.fault(59, "Pgpool-II sends every read to a replica that lags 10 s, except those of the kit's tables")
def test_behind_pgpool_no_revocation_lags_if_the_tables_are_named(
    replicated: Callable[..., Case], pgpool: Callable[..., None]
) -> None:
    case = replicated(lag=10)
    replica = case.server.replica.socket.parent
    case.until(lambda: bool(case.server.replica.execute("SELECT 1", name=case.name)), "the replica has the database")
    case.variables["TEST_SETTINGS"] = "tests.settings"
    pgpool(case, replica, weights=(0, 1), settings=["load_balance_mode = on"])
    with case.serving() as web:  # this is what the pattern is for
        assert get(web, sign_in(web, USER)["access_token"]) == 401
        case.note("without the pattern, a new session is refused for as long as the replica lags")
    pgpool(case, replica, weights=(0, 1), settings=["load_balance_mode = on", PATTERN])
    case.start_relay()
    with case.serving() as web, case.writing():
        pair = sign_in(web, USER)
        assert get(web, pair["access_token"]) == 200
        status, successor = post(web, "refresh", refresh_token=pair["refresh_token"])
        assert status == 200
        assert post(web, "logout", refresh_token=successor["refresh_token"])[0] == 204
        assert get(web, pair["access_token"]) == 401
        assert post(web, "refresh", refresh_token=successor["refresh_token"])[0] == 401
    case.until_empty()
    case.expect()
