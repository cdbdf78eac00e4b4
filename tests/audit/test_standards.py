"""The mapping of the events to other standards: only values that these publish, with the meaning they have there."""

import pytest

from docs.generators.events import DOCS, ecs, kit_events
from docs.generators.standards import ECS_TYPES, OCSF_ACTIVITIES, SHARED_SIGNALS
from ninja_auth_kit.audit.events import Event, event_class

EVENTS = pytest.mark.parametrize("kind", kit_events(), ids=lambda kind: kind.name)


def named(name: str) -> type[Event]:
    kind = event_class(f"ninja-auth-kit.{name}.v1")
    assert kind is not None
    return kind


@EVENTS
def test_an_ocsf_id_is_published_and_an_account_has_one_for_each_version(kind: type[Event]) -> None:
    ids = kind.ocsf.split(", ") if kind.ocsf else []

    assert set(ids) <= set(OCSF_ACTIVITIES)
    classes = [id.partition("/")[0] for id in ids]
    assert classes in ([], ["3002"], ["3001", "3007"]), "3001 is deprecated since OCSF 1.9.0, and 3007 new in it"
    if classes == ["3001", "3007"]:
        earlier, later = (OCSF_ACTIVITIES[id] for id in ids)
        assert (earlier, later) == (earlier, earlier) or (earlier, later) == ("Other", "Update")


@EVENTS
def test_an_ecs_type_is_expected_in_its_category(kind: type[Event]) -> None:
    categories, types = ecs(kind)

    assert categories
    assert types
    for category in categories:
        assert set(types) <= ECS_TYPES[category]


@EVENTS
def test_a_shared_signal_is_published(kind: type[Event]) -> None:
    assert not kind.shared_signal or kind.shared_signal in SHARED_SIGNALS


@pytest.mark.parametrize("name", ["session.refreshed", "session.refresh_failed"])
def test_a_refresh_is_not_a_kerberos_ticket(name: str) -> None:
    assert named(name).ocsf == "3002/99"
    assert not {"3002/3", "3002/4", "3002/5"} & set(OCSF_ACTIVITIES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("session.logged_in", (["authentication"], ["start"])),
        ("session.login_failed", (["authentication"], ["start"])),
        ("session.logged_out", (["session"], ["end"])),
        ("user.registration_failed", (["iam"], ["user", "creation"])),
        ("user.deletion_failed", (["iam"], ["user", "deletion"])),
        ("password.change_failed", (["iam"], ["user", "change"])),
        ("email.change_requested", (["iam"], ["user", "info"])),
        ("request.throttled", (["api"], ["denied"])),
    ],
)
def test_an_ecs_type_is_that_of_the_action_whatever_its_outcome(
    name: str, expected: tuple[list[str], list[str]]
) -> None:
    assert ecs(named(name)) == expected


def test_a_new_email_address_is_not_reported_as_a_change_by_its_provider() -> None:
    assert named("email.changed").shared_signal == "RISC recovery-information-changed"
    assert named("session.reuse_detected").shared_signal == "CAEP session-revoked"
    assert named("user.updated").shared_signal == ""


def test_the_page_names_the_version_of_each_standard() -> None:
    page = (DOCS / "events.md").read_text()

    for version in ("OCSF 1.9.0", "[9.4.0]", "[CAEP 1.0]", "[RISC 1.0]"):
        assert version in page
    for id, activity in OCSF_ACTIVITIES.items():
        assert f"| {id} |" in page, activity
