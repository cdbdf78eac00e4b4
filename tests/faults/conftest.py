"""The broker and the database of the fault suite, the case, and the result table.

`make test` runs the cases marked `short`, with few events. `FAULTS=all`, which `make test-faults`
sets, runs all cases. FAULT_EVENTS is the number of events that each case writes.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.case import Case
from tests.faults.database import PrivateDatabase
from tests.faults.replication import ReplicatedDatabase
from tests.faults.report import Report, Row
from tests.private_broker import PrivateBroker, is_installed, version

FULL = os.environ.get("FAULTS") == "all"
EVENTS = int(os.environ.get("FAULT_EVENTS") or (30_000 if FULL else 2_000))
REPLICATED_EVENTS = 3_000  # each commit waits for the replica
REPORT = pytest.StashKey[Report]()
ROW = pytest.StashKey[Row]()


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> Iterator[PrivateDatabase]:
    """Start a PostgreSQL for the fault suite only."""
    with tempfile.TemporaryDirectory(prefix="nak-faults-", ignore_cleanup_errors=True) as directory:
        server = PrivateDatabase(Path(directory))
        server.start()
        try:
            server.make_template()
            request.config.stash[REPORT].versions["PostgreSQL"] = str(server.execute("SHOW server_version")[0][0])
            yield server
        finally:
            server.remove()


@pytest.fixture(scope="session")
def broker_node(request: pytest.FixtureRequest) -> Iterator[PrivateBroker]:
    """Start a RabbitMQ for the fault suite only."""
    if not is_installed():
        assert not os.environ.get("CI"), "RabbitMQ must be installed in CI, to start a private broker"
        pytest.skip("RabbitMQ is not installed, so a private broker cannot be started")
    broker = PrivateBroker()
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


@pytest.fixture
def case(
    request: pytest.FixtureRequest, database_server: PrivateDatabase, broker_node: PrivateBroker
) -> Iterator[Case]:
    """Return the case of this test. The marker of the test names its number and its fault."""
    row = request.node.stash[ROW]
    if not broker_node.is_running():  # a failed case may have left it stopped
        broker_node.start()
    case = Case(row, events=EVENTS, broker=broker_node, server=database_server)
    try:
        yield case
    finally:
        case.close()


@pytest.fixture
def replicated(
    request: pytest.FixtureRequest, tmp_path: Path, broker_node: PrivateBroker
) -> Iterator[Callable[..., Case]]:
    """Return a function that starts two database servers, and returns the case of this test on them."""
    with contextlib.ExitStack() as exits:

        def start(**options: Any) -> Case:
            server = ReplicatedDatabase(tmp_path, **options)
            exits.callback(server.remove)
            server.start()
            case = Case(
                request.node.stash[ROW], events=min(EVENTS, REPLICATED_EVENTS), broker=broker_node, server=server
            )
            exits.callback(case.abandon)
            case.variables |= {"TEST_SETTINGS": "tests.settings_replicated"}
            case.variables["TEST_REPLICA_HOST"] = str(server.replica.socket.parent)
            case.until(server.is_replicating, "the replica receives the log")
            return case

        yield start


def pytest_configure(config: pytest.Config) -> None:
    """Create an empty report."""
    config.stash[REPORT] = Report()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the long cases, unless `make test-faults` runs them."""
    long = [item for item in items if (mark := item.get_closest_marker("fault")) and not mark.kwargs.get("short")]
    if long and not FULL:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Create the row of a case, so that the table has it even if the case does not run."""
    mark = item.get_closest_marker("fault")
    if mark is not None:
        item.stash[ROW] = Row(*mark.args)
        item.config.stash[REPORT].rows.append(item.stash[ROW])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Record the result of a case."""
    report = yield
    row = item.stash.get(ROW, None)
    if row is not None and report.skipped:
        row.state = "not run"
        row.notes.append(report.longrepr[2].removeprefix("Skipped: "))
    elif row is not None and report.when == "call" and report.passed:
        row.state = "passed"
    elif row is not None and report.failed:
        row.state = "FAILED"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and write it into the page if all cases were run."""
    report = config.stash[REPORT]
    if not report.rows:
        return
    terminalreporter.section("faults")
    for line in report.lines():
        terminalreporter.write_line(line)
    if FULL and not config.option.keyword:
        report.write(version())
        terminalreporter.write_line("The results have been written into docs/faults.json and docs/faults.md.")
    elif not FULL:
        terminalreporter.write_line("Only the short cases were run. `make test-faults` runs all, with more events.")
