"""A flood of failures and failing consumers: what they do to the stream."""

import json
import time
from collections import Counter

import pytest

from ninja_auth_kit.audit.record.aggregation import RECORDED_INDIVIDUALLY, WINDOW
from tests.faults.case import Case

pytestmark = pytest.mark.private_broker
FAILURES = 5000


@pytest.mark.fault(29, "Password spray: 5,000 failures from one address, among other events", short=True)
def test_a_spray_is_a_few_events_and_an_exact_count(case: Case) -> None:
    case.start_relay()
    with case.writing():
        sprayed = int(case.run("tests.faults.spray", str(FAILURES)))
        most = case.ledger.waiting_failures()
    time.sleep(WINDOW + 2)
    case.until_empty()
    failures: Counter[str] = Counter()
    counted = 0

    def note(body: bytes) -> bytes:
        nonlocal counted
        event = json.loads(body)
        if event["type"] == "ninja-auth-kit.session.login_failed.v1":
            failures["events"] += 1
            counted += event["data"].get("count", 1)
        return body

    case.expect(source=lambda is_all: map(note, case.inbox.read(is_all)))
    case.note(f"{sprayed:,} failures as {failures['events']} events")
    assert counted == sprayed == FAILURES
    assert failures["events"] <= 4 * (RECORDED_INDIVIDUALLY + 1)
    assert most <= 2 * RECORDED_INDIVIDUALLY
