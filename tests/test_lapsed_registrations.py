"""Registrations that were never verified: they release their username, and `authkit_prune` deletes them."""

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.db import connection, models
from django.db.models import ProtectedError
from django.db.models.functions import Lower
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ninja_auth_kit.models import EmailAddress, ShadowRegistration
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)

TYPO, RIGHT = "grace@exmaple.com", "grace@example.com"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def needs_username() -> None:
    if not has_username():
        pytest.skip("the user model has no username")


def verify(api: Api, email: str = RIGHT, password: str = PASSWORD) -> None:
    (index,) = [number for number, message in enumerate(mail.outbox) if message.to == [email]][-1:]
    assert api.post("verify-email", {"token": mailed_token(index), "password": password}).status_code == 200


def names() -> set[str]:
    return {user.get_username() for user in get_user_model().objects.all()}


def prune(*arguments: str) -> tuple[dict[str, int], str]:
    output, errors = StringIO(), StringIO()
    call_command("authkit_prune", "--json", *arguments, stdout=output, stderr=errors)
    return json.loads(output.getvalue())["rows"], errors.getvalue()


# The username


def test_a_typo_in_the_address_holds_the_username_until_the_link_expires(api: Api, clock: Any) -> None:
    needs_username()
    api.register(TYPO, username="grace")

    clock.shift(DAY - timedelta(seconds=1))
    assert api.register(RIGHT, username="grace").status_code == 422
    clock.shift(timedelta(seconds=1))
    assert api.register(RIGHT, username="grace").status_code == 202

    verify(api)
    assert api.post("login", {"username": "grace", "password": PASSWORD}).status_code == 200
    assert api.post("login", {"username": "grace", "password": PASSWORD}).status_code == 200


def test_a_new_link_reserves_the_username_again(api: Api, clock: Any) -> None:
    needs_username()
    api.register(TYPO, username="grace")
    clock.shift(DAY - HOUR)
    api.post("verify-email/resend", {"email": TYPO})

    clock.shift(2 * HOUR)
    assert api.register(RIGHT, username="grace").status_code == 422
    verify(api, TYPO)
    clock.shift(2 * DAY)
    assert api.register(RIGHT, username="grace").status_code == 422


def test_who_lost_the_username_can_register_again_with_another(api: Api, clock: Any) -> None:
    needs_username()
    api.register(TYPO, username="grace")
    clock.shift(DAY)
    api.register(RIGHT, username="grace")

    assert api.register(TYPO, username="grace").status_code == 422
    assert api.register(TYPO, username="hopper").status_code == 202

    assert names() == {"grace", "hopper"}
    verify(api, TYPO)
    assert api.login(TYPO).status_code == 200


@pytest.mark.parametrize(
    "fields", [{"verified": True}, {"is_active": False}, {"is_staff": True}, {"last_login": timezone.now()}]
)
def test_no_other_account_loses_its_username(
    api: Api, make_user: Callable[..., Any], clock: Any, fields: dict[str, Any]
) -> None:
    needs_username()
    fields = {"verified": False, **fields}
    make_user(TYPO, username="grace", **fields)
    EmailAddress.objects.update(registered_at=timezone.now())

    clock.shift(40 * DAY)

    assert api.register(RIGHT, username="grace").status_code == 422
    prune()
    assert names() == {"grace"}


def test_nor_does_an_unverified_user_who_was_made_elsewhere(
    api: Api, make_user: Callable[..., Any], clock: Any
) -> None:
    needs_username()
    make_user(TYPO, username="grace", verified=False)

    clock.shift(400 * DAY)

    assert api.register(RIGHT, username="grace").status_code == 422


@pytest.mark.security("CRED-01")
def test_it_is_released_in_the_same_way_whoever_has_the_address(
    api: Api, make_user: Callable[..., Any], clock: Any
) -> None:
    needs_username()
    make_user("owner@example.com")
    seen: dict[str, list[Any]] = {"owner@example.com": [], "free@example.com": []}
    for (address, answers), name in zip(seen.items(), ("first", "second"), strict=True):

        def probe(
            who: str, answers: list[Any] = answers, name: str = name, *, resend: str = "", log_in: str = ""
        ) -> None:
            with CaptureQueriesContext(connection) as queries:
                if resend:
                    response = api.post("verify-email/resend", {"email": resend})
                elif log_in:
                    response = api.login(log_in, "the password of a stranger")
                else:
                    response = api.register(who, "the password of a stranger", username=name)
            answers.append((response.status_code, response.content, len(queries)))

        api.register(address, "the password of a stranger", username=name)
        clock.shift(DAY - HOUR)
        probe(f"early-{name}@example.com")
        with CaptureQueriesContext(connection):
            api.post("verify-email/resend", {"email": address})
        clock.shift(2 * HOUR)
        probe(f"early-{name}@example.com")
        clock.shift(DAY)
        probe(f"mine-{name}@example.com")
        probe("", log_in=address)
        probe(f"late-{name}@example.com")
        answers.append(api.register(address, "the password of a stranger", username=name).status_code)

    assert seen["owner@example.com"] == seen["free@example.com"]
    assert [answer[0] for answer in seen["free@example.com"][:-1]] == [422, 422, 202, 403, 422]


@pytest.fixture
def constrain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[models.BaseConstraint], None]]:
    """Return a function that adds a constraint to the database and to the user model."""
    needs_username()
    model, added = get_user_model(), []

    def add(constraint: models.BaseConstraint) -> None:
        with connection.schema_editor() as editor:
            editor.add_constraint(model, constraint)
        added.append(constraint)
        monkeypatch.setattr(model._meta, "constraints", [*model._meta.constraints, constraint])

    yield add
    with connection.schema_editor() as editor:
        for constraint in added:
            editor.remove_constraint(model, constraint)


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize(("pattern", "status"), [("^[a-z0-9]{1,50}$", 202), ("^[a-z]{1,9}$", 422)])
def test_a_name_for_which_there_is_no_other_stays_taken_whoever_has_the_address(
    api: Api,
    make_user: Callable[..., Any],
    clock: Any,
    constrain: Callable[[models.BaseConstraint], None],
    pattern: str,
    status: int,
) -> None:
    constrain(models.CheckConstraint(condition=models.Q(username__regex=pattern), name="host_names"))
    make_user("owner@example.com", username="owner")
    seen = []
    for address, name in (("owner@example.com", "first"), ("free@example.com", "second")):
        assert api.register(address, username=name).status_code == 202
        clock.shift(2 * DAY)
        with CaptureQueriesContext(connection) as queries:
            answer = api.register(f"mine-{address}", username=name)
        seen.append((answer.status_code, answer.content, len(queries)))

    assert seen[0] == seen[1]
    assert seen[0][0] == status


@pytest.mark.security("CRED-01")
def test_a_name_that_two_rules_are_about_is_released_from_both_whoever_has_the_address(
    api: Api, make_user: Callable[..., Any], clock: Any, constrain: Callable[[models.BaseConstraint], None]
) -> None:
    constrain(models.UniqueConstraint(Lower("username"), name="host_names"))
    make_user("owner@example.com", username="owner")
    seen = []
    for address, name in (("free@example.com", "First"), ("owner@example.com", "Second")):
        assert api.register(address, username=name).status_code == 202
        clock.shift(2 * DAY)
        assert api.register(f"mine-{address}", username=name.upper()).status_code == 202
        clock.shift(2 * DAY)
        api.post("verify-email/resend", {"email": address})
        seen.append(api.register(f"late-{address}", username=name).status_code)

    assert seen == [202, 202]


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("name", ["", " ", "released"])
def test_a_registration_that_lost_its_username_has_no_empty_one(
    api: Api, make_user: Callable[..., Any], clock: Any, name: str
) -> None:
    needs_username()
    make_user("owner@example.com", username="owner")
    answers = []
    for address, wanted in (("free@example.com", "first"), ("owner@example.com", "second")):
        api.register(address, "the password of a stranger", username=wanted)
        clock.shift(2 * DAY)
        assert api.register(f"mine-{address}", username=wanted).status_code == 202
        answers.append(api.post("login", {"username": name, "password": "the password of a stranger"}))

    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content


@pytest.mark.race
def test_of_many_registrations_of_a_released_username_one_gets_it(api: Api) -> None:
    needs_username()
    api.register(TYPO, username="grace")
    EmailAddress.objects.update(registered_at=timezone.now() - 2 * DAY)

    def register(number: int) -> int:
        try:
            return int(Api().register(f"grace{number}@example.com", username="grace").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(register, range(8)))

    assert sorted(statuses) == [202] + [422] * 7
    assert get_user_model().objects.filter(**{get_user_model().USERNAME_FIELD: "grace"}).count() == 1
    assert get_user_model().objects.count() == 2


# Pruning


def test_registrations_that_were_never_verified_are_deleted_after_a_month(
    api: Api, make_user: Callable[..., Any], clock: Any, audited: None
) -> None:
    make_user("owner@example.com")
    make_user("import@example.com", verified=False)
    api.register(TYPO, username="grace")
    api.register("owner@example.com", "the password of a stranger", username="shadow")
    api.register(RIGHT, username="right")
    verify(api)

    clock.shift(30 * DAY)
    assert prune()[0].get(get_user_model().__name__) is None
    clock.shift(timedelta(seconds=1))
    assert prune("--dry-run")[0][get_user_model().__name__] == 1
    rows, _ = prune()

    assert (rows[get_user_model().__name__], rows["ShadowRegistration"]) == (1, 1)
    addresses = set(get_user_model().objects.values_list("email", flat=True))
    assert addresses == {"owner@example.com", "import@example.com", RIGHT}
    (deleted,) = [event["data"] for event in events() if event["type"].endswith("user.deleted.v1")]
    assert deleted["actor"]["type"] == "system"
    assert {api.login(TYPO).status_code, api.login("owner@example.com", "the password of a stranger").status_code} == {
        401
    }


@pytest.mark.parametrize("keys", [{"UNVERIFIED_RETENTION": None}, {"EMAIL_VERIFICATION_REQUIRED": False}])
def test_the_settings_can_keep_them(api: Api, kit: Callable[..., None], clock: Any, keys: dict[str, Any]) -> None:
    api.register(TYPO)
    kit(**keys)

    clock.shift(400 * DAY)
    prune()

    assert get_user_model().objects.count() == 1


@pytest.mark.parametrize("how", ["registered again", "new link", "session"])
def test_a_registration_that_is_in_use_is_kept(api: Api, clock: Any, how: str) -> None:
    api.register(TYPO)
    clock.shift(20 * DAY)
    user = get_user_model().objects.get()
    if how == "registered again":
        api.register(TYPO)
    elif how == "new link":
        api.post("verify-email/resend", {"email": TYPO})
    else:
        issue_tokens(user)

    clock.shift(20 * DAY)
    prune()

    assert get_user_model().objects.count() == 1


def test_a_registration_that_a_stranger_made_of_an_imported_user_is_kept(
    api: Api, make_user: Callable[..., Any], clock: Any
) -> None:
    make_user(EMAIL, verified=False)
    api.register(EMAIL, username="stranger")

    clock.shift(400 * DAY)
    prune()

    assert get_user_model().objects.count() == 1


def test_a_registration_whose_user_is_protected_is_kept_and_named(api: Api, clock: Any, audited: None) -> None:
    api.register(TYPO, username="grace")
    api.register(RIGHT, username="right")
    protected = get_user_model().objects.get(email=TYPO)

    def protect(instance: Any, **_: Any) -> None:
        if instance.pk == protected.pk:
            raise ProtectedError("an order needs this user", {instance})

    pre_delete.connect(protect, sender=get_user_model())
    try:
        clock.shift(31 * DAY)
        rows, errors = prune("--batch", "1")
    finally:
        pre_delete.disconnect(protect, sender=get_user_model())

    assert rows[get_user_model().__name__] == 1
    assert "1 registration could not be deleted" in errors
    assert list(get_user_model().objects.all()) == [protected]
    assert event_names().count("user.deleted") == 1
    assert not ShadowRegistration.objects.exists()


def test_batches_of_registrations_add_up(api: Api, clock: Any) -> None:
    for number in itertools.islice(itertools.count(), 5):
        api.register(f"typo{number}@example.com")
    clock.shift(31 * DAY)

    assert prune("--batch", "2")[0][get_user_model().__name__] == 5
    assert not get_user_model().objects.exists()
