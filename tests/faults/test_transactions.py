"""Transactions and what may disturb them: rollbacks, savepoints, receivers, hostile input."""

import json

import pytest

from tests.faults.case import Case

pytestmark = pytest.mark.private_broker


@pytest.mark.fault(21, "Every other transaction rolls back after its event", short=True)
def test_what_is_rolled_back_was_never_said(case: Case) -> None:
    case.start_relay()
    with case.writing(undo_every=2):
        pass
    case.until_empty()
    case.expect()


@pytest.mark.fault(22, "A savepoint rolls back in every other transaction, which commits")
def test_what_a_savepoint_undoes_was_never_said_and_the_rest_is(case: Case) -> None:
    case.start_relay()
    with case.writing(undo_every=2, savepoint=True):
        pass
    case.until_empty()
    case.expect()


@pytest.mark.parametrize(
    "receiver",
    [
        pytest.param(
            "raise", marks=pytest.mark.fault(23, "A receiver of the project raises an exception at every event")
        ),
        pytest.param("sleep", marks=pytest.mark.fault(23, "A receiver of the project sleeps 5 ms at every event")),
    ],
)
def test_a_receiver_of_the_host_breaks_nothing(case: Case, receiver: str) -> None:
    case.start_relay()
    with case.writing(receiver=receiver):
        pass
    case.until_empty()
    case.expect()


@pytest.mark.fault(25, "Hostile input: NUL, lone surrogates, a user agent of 1 MB, direction marks", short=True)
def test_hostile_input_is_recorded_as_json_and_breaks_no_login(case: Case) -> None:
    case.start_relay()
    with case.writing():
        answers = json.loads(case.run("tests.faults.hostile"))
    case.note(f"status codes {answers}")
    assert not [status for status in answers if not 400 <= status < 500]
    case.until_empty()
    count = case.expect()
    assert count.others["ninja-auth-kit.session.login_failed.v1"] == answers.count(401) > 0
