"""`authkit_verify`: verifying the addresses of users who were made elsewhere."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from ninja_auth_kit import signals
from ninja_auth_kit.models import EmailAddress
from ninja_auth_kit.models.users import has_username, is_verified
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events

pytestmark = pytest.mark.django_db(transaction=True)


def verify(*arguments: str) -> tuple[int, str]:
    """Return the exit code of the command and its output."""
    output = io.StringIO()
    try:
        call_command("authkit_verify", *arguments, stdout=output, stderr=io.StringIO())
    except SystemExit as leaving:
        return int(leaving.code or 0), output.getvalue()
    return 0, output.getvalue()


def report(*arguments: str) -> dict[str, Any]:
    return dict(json.loads(verify(*arguments, "--json")[1]))


@pytest.fixture
def create() -> Callable[..., Any]:
    """Return a function that makes users as a project does without the kit."""

    def run(email: str, **fields: Any) -> Any:
        model = get_user_model()
        name = fields.pop("name", email or "no address")
        if has_username():
            return model._default_manager.create_user(name, email, PASSWORD, **fields)  # type: ignore[attr-defined]
        return model._default_manager.create_user(email or name, PASSWORD, **fields)  # type: ignore[attr-defined]

    return run


def test_a_superuser_can_log_in_after_the_command_and_is_one_event(
    api: Api, create: Callable[..., Any], audited: None
) -> None:
    user = create("Grace@Example.com", is_staff=True, is_superuser=True)
    assert api.login("grace@example.com").json()["code"] == "email_not_verified"

    assert verify("grace@example.com") == (0, "1 user marked as verified.\n")

    assert api.login("grace@example.com").status_code == 200
    (event,) = [event for event in events() if event["type"] == "ninja-auth-kit.email.verified.v1"]
    assert (event["authtype"], event["subject"]) == ("system", f"user/{user.pk}")
    assert event["data"]["actor"]["type"] == "system"


def test_a_second_run_changes_nothing(create: Callable[..., Any], audited: None) -> None:
    create(EMAIL)
    verify("--all")
    before = EmailAddress.objects.values().get()
    recorded = event_names()

    assert verify("--all") == (0, "0 users marked as verified.\n1 user already verified.\n")
    assert verify(EMAIL)[0] == 0

    assert EmailAddress.objects.values().get() == before
    assert event_names() == recorded


def test_each_address_that_cannot_be_verified_is_named_with_its_reason_and_fails_the_command(
    create: Callable[..., Any],
) -> None:
    create("one@example.com"), create("ONE@example.com", name="twin"), create("fine@example.com")

    code, output = verify("one@example.com", "fine@example.com", "nobody@example.com", "no address")

    assert code == 1
    assert output.splitlines()[-2:] == ["1 user marked as verified.", "3 skipped, see above."]
    assert "(one@example.com): another account has the same email address" in output
    assert "skipped nobody@example.com: no account has this email address" in output
    assert "skipped no address: the email address cannot be used" in output


def test_with_all_the_users_who_need_a_person_are_listed_and_the_others_are_verified(
    api: Api, create: Callable[..., Any], make_user: Callable[..., Any]
) -> None:
    fine = [create(f"fine{number}@example.com") for number in range(3)]
    nothing = create("") if has_username() else None
    odd = create("jürgen@example.com", name="juergen")
    twins = [create("twin@example.com"), create("Twin@example.com", name="other")]
    create("left@example.com", is_active=False)
    api.register("waits@example.com")

    found = report("--all")

    assert found["verified"] == 3
    assert all(is_verified(get_user_model()._default_manager.get(pk=user.pk)) for user in fine)
    counts = {reason: details["count"] for reason, details in found["skipped"].items()}
    assert counts == {"invalid": 1, "shared": 2, "disabled": 1, "pending": 1} | ({"no_address": 1} if nothing else {})
    listed = {reason: [one["user"] for one in details["listed"]] for reason, details in found["skipped"].items()}
    assert listed["invalid"] == [str(odd.pk)]
    assert sorted(listed["shared"]) == sorted(str(user.pk) for user in twins)


@pytest.mark.security("VER-11")
def test_with_all_a_registration_of_a_stranger_is_not_verified(api: Api) -> None:
    api.register("victim@example.com", "the password of the stranger")

    assert verify("--all")[0] == 0
    assert api.login("victim@example.com", "the password of the stranger").status_code == 403

    assert verify("victim@example.com")[0] == 0  # an operator who names it answers for it
    assert api.login("victim@example.com", "the password of the stranger").status_code == 200


def test_a_disabled_user_is_verified_when_asked_for_and_stays_disabled(api: Api, create: Callable[..., Any]) -> None:
    create(EMAIL, is_active=False)

    assert report("--all")["verified"] == 0
    assert report("--all", "--include-disabled")["verified"] == 1

    assert api.login().status_code == 401


def test_a_dry_run_says_the_same_and_changes_nothing(create: Callable[..., Any], audited: None) -> None:
    create("one@example.com"), create("two@example.com"), create("TWO@example.com", name="twin")

    dry = report("--all", "--dry-run")
    assert verify("one@example.com", "--dry-run") == (0, "1 user would be marked as verified.\n")

    assert not EmailAddress.objects.exists()
    assert event_names() == []
    assert dry["dry_run"] is True
    assert report("--all") == {**dry, "dry_run": False}


def test_a_user_whose_address_was_changed_elsewhere_is_verified_under_the_new_one(
    api: Api, make_user: Callable[..., Any], create: Callable[..., Any]
) -> None:
    user = make_user("old@example.com")
    user.email = "new@example.com"
    user.save()
    create("old@example.com", name="next")  # has the former address of the other now

    assert report("--all")["verified"] == 2

    assert {api.login(f"{name}@example.com").status_code for name in ("old", "new")} == {200}


def test_of_two_users_with_one_address_the_verified_one_keeps_it(
    make_user: Callable[..., Any], create: Callable[..., Any]
) -> None:
    owner = make_user()
    create(EMAIL.upper(), name="twin")

    assert report("--all")["skipped"]["shared"]["count"] == 1
    assert verify(EMAIL)[0] == 0

    assert EmailAddress.objects.get().user_id == owner.pk


def test_addresses_are_read_from_a_file_and_from_the_standard_input(
    create: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        create(f"{name}@example.com")
    listed = tmp_path / "addresses.txt"
    listed.write_text("one@example.com\n\n  two@example.com\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("three@example.com\n"))

    assert verify("--file", str(listed)) == (0, "2 users marked as verified.\n")
    assert verify("--file", "-") == (0, "1 user marked as verified.\n")


@pytest.mark.parametrize(
    "arguments", [[], [EMAIL, "--all"], ["--all", "--file", "-"], ["--file", "/no/such/file"]], ids=str
)
def test_arguments_that_contradict_one_another_are_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=r"Name email addresses|cannot be read"):
        verify(*arguments)


def test_the_receivers_of_the_project_hear_of_each_user_unless_told_otherwise(create: Callable[..., Any]) -> None:
    heard: list[Any] = []
    create("one@example.com")
    receiver = lambda user, **_: heard.append(user.email)  # noqa: E731
    signals.email_verified.connect(receiver)
    try:
        verify("--all")
        create("two@example.com")
        verify("--all", "--no-events")
    finally:
        signals.email_verified.disconnect(receiver)

    assert heard == ["one@example.com"]
    assert EmailAddress.objects.filter(verified_at__isnull=False).count() == 2


def many(count: int) -> None:
    model = get_user_model()
    model._default_manager.bulk_create(
        model(**{model.USERNAME_FIELD: f"user{number}@example.com", "email": f"user{number}@example.com"})
        for number in range(count)
    )


def test_a_batch_takes_as_many_statements_for_many_users_as_for_few() -> None:
    counts = []
    for count in (2, 400):
        get_user_model()._default_manager.all().delete()
        many(count)
        with CaptureQueriesContext(connection) as queries:
            assert report("--all", "--no-events")["verified"] == count
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_more_users_than_fit_into_a_batch_are_all_verified() -> None:
    many(1201)

    assert report("--all")["verified"] == 1201
    assert report("--all") == {
        "verified": 0,
        "dry_run": False,
        "skipped": {"verified": {"count": 1201, "listed": []}},
    }


@pytest.mark.race
def test_runs_beside_one_another_and_beside_registrations_verify_each_user_once(api: Api, audited: None) -> None:
    many(150)
    failures: list[BaseException] = []

    def work(run: Callable[[], Any]) -> None:
        try:
            run()
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    def register() -> None:
        for number in range(20):
            assert Api().register(f"new{number}@example.com").status_code == 202

    runs = [lambda: verify("--all")] * 3 + [register] * 2
    threads = [threading.Thread(target=work, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert event_names().count("email.verified") == 150
    waiting = EmailAddress.objects.filter(verified_at=None).values_list("email", flat=True)
    assert sorted(waiting) == sorted(f"new{number}@example.com" for number in range(20))
