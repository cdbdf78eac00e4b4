"""`authkit_doctor`: which users cannot log in or reset their password, and why."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ninja_auth_kit.models import EmailAddress
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)


def doctor(*arguments: str) -> tuple[int, str]:
    """Return the exit code of the command and its output."""
    output = io.StringIO()
    try:
        call_command("authkit_doctor", *arguments, stdout=output)
    except SystemExit as leaving:
        return int(leaving.code or 0), output.getvalue()
    return 0, output.getvalue()


def reasons(*arguments: str) -> dict[str, list[str]]:
    """Return the primary keys of each reason."""
    found = json.loads(doctor("--json", *arguments)[1])["reasons"]
    assert all(one["count"] >= len(one["users"]) and one["text"] and one["fix"] for one in found)
    return {one["reason"]: one["users"] for one in found}


def change(user: Any, **values: Any) -> Any:
    """Change a user as a project does without the kit, and return the user."""
    get_user_model()._default_manager.filter(pk=user.pk).update(**values)
    return user


def without_row(user: Any) -> Any:
    EmailAddress.objects.filter(user=user).delete()
    return user


def test_in_a_project_whose_users_can_all_log_in_the_doctor_finds_nothing(
    api: Api, make_user: Callable[..., Any]
) -> None:
    make_user()
    make_user("Grace.Hopper+navy@Example.COM")
    make_user("info@bücher.example")

    assert doctor() == (0, "Examined 3 users.\n\nNo user needs help.\n")
    assert json.loads(doctor("--json")[1]) == {"healthy": True, "users": 3, "reasons": []}


def test_each_user_who_needs_somebody_is_listed_under_the_reason_with_a_fix(
    api: Api, make_user: Callable[..., Any]
) -> None:
    found = {
        "no_address": change(make_user("gone@example.com"), email=""),
        "address_refused": change(make_user("odd@example.com"), email='"two words"@example.com'),
        "never_verified": without_row(make_user("elsewhere@example.com")),
        "address_changed": change(make_user("former@example.com"), email="present@example.com"),
        "unknown_hasher": change(make_user("imported@example.com"), password="$2y$10$abcdefghijklmnopqrstuv"),
    }

    assert reasons() == {reason: [str(user.pk)] for reason, user in found.items()}
    code, text = doctor()
    assert code == 1
    assert text.count("Fix: ") == 5
    assert f"never_verified: 1 user ({found['never_verified'].pk})" in text
    assert "authkit_verify --all" in text
    assert "example.com" not in text
    assert "$2y$" not in text


def test_what_the_doctor_lists_cannot_log_in_and_can_after_the_fix(api: Api, make_user: Callable[..., Any]) -> None:
    without_row(make_user("elsewhere@example.com"))
    change(make_user("former@example.com"), email="present@example.com")
    addresses = ["elsewhere@example.com", "present@example.com"]
    assert [api.login(address).json()["code"] for address in addresses] == ["email_not_verified"] * 2

    call_command("authkit_verify", *addresses, stdout=io.StringIO())

    assert doctor()[0] == 0
    assert [api.login(address).status_code for address in addresses] == [200, 200]


def test_users_who_share_an_address_are_listed_together_except_the_one_who_has_verified_it(
    make_user: Callable[..., Any],
) -> None:
    one, two = (without_row(make_user(f"{name}@example.com")) for name in ("one", "two"))
    owner, third = make_user("three@example.com"), without_row(make_user("four@example.com"))
    here, there = (without_row(make_user(f"{name}@example.com")) for name in ("five", "six"))
    change(one, email="Shared@example.com"), change(two, email="shared@EXAMPLE.com")
    change(third, email="THREE@example.com")
    change(here, email="me@bücher.example"), change(there, email="Me@xn--bcher-kva.example")

    (shared,) = (found for found in json.loads(doctor("--json")[1])["reasons"] if found["reason"] == "address_shared")

    assert sorted(shared["users"]) == sorted(str(user.pk) for user in (one, two, third, here, there))
    assert shared["count"] == 5
    groups = sorted(sorted(group) for group in shared["groups"])
    assert groups == sorted(
        sorted(str(user.pk) for user in pair) for pair in ((one, two), (owner, third), (here, there))
    )
    assert " and " in doctor()[1]


def test_what_is_as_intended_is_listed_and_is_no_failure(api: Api, make_user: Callable[..., Any]) -> None:
    disabled = change(make_user("left@example.com"), is_active=False, email="")
    social = make_user("social@example.com", password=None)
    api.register("waits@example.com")
    pending = get_user_model()._default_manager.get(email="waits@example.com")

    code, text = doctor()

    assert code == 0
    assert "As intended:" in text
    assert reasons() == {
        "no_password": [str(social.pk)],
        "disabled": [str(disabled.pk)],
        "pending": [str(pending.pk)],
    }


def test_the_settings_decide_what_is_a_failure(make_user: Callable[..., Any], kit: Callable[..., None]) -> None:
    without_row(make_user("elsewhere@example.com"))
    kit(EMAIL_VERIFICATION_REQUIRED=False)
    assert doctor()[0] == 0

    make_user("directory@example.com", password=None)
    assert doctor()[0] == 0
    kit(USERS_SET_FIRST_PASSWORD=False)
    assert doctor()[0] == 1


@pytest.mark.parametrize(
    ("password", "is_known"),
    [
        ("md5$salt$0123456789abcdef0123456789abcdef", True),
        ("md5$$0123456789abcdef0123456789abcdef", False),
        ("0123456789abcdef0123456789abcdef", False),
        ("pbkdf2_sha256$1000$salt$hash", False),
        ("a password in plain text", False),
        ("", False),
    ],
)
def test_a_hash_is_known_if_a_listed_hasher_can_check_it(
    make_user: Callable[..., Any], password: str, is_known: bool
) -> None:
    change(make_user(), password=password)

    assert ("unknown_hasher" not in reasons()) is is_known


def test_many_users_cost_no_more_statements_and_the_list_is_short(make_user: Callable[..., Any]) -> None:
    model = get_user_model()
    counts = []
    for number in (30, 900):
        model._default_manager.bulk_create(
            model(**{model.USERNAME_FIELD: f"{number}-{index}@example.com", "email": f"{number}-{index}@example.com"})
            for index in range(number)
        )
        with CaptureQueriesContext(connection) as queries:
            assert len(reasons("--list", "7")["never_verified"]) == 7
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert "never_verified: 930 users (" in doctor()[1]
    assert "never_verified: 930 users (" in doctor("--list", "1")[1]


@pytest.mark.parametrize(
    "email",
    [
        "two..dots@example.com",
        ".first@example.com",
        "last.@example.com",
        "a@-example.com",
        "a@example-.com",
        "a@example..com",
        "a@b.c",
        "a b@example.com",
        "a@example.com ",
        "a@@example.com",
        "no address",
        "x" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com",
        "a@exa_mple.com",
        "jürgen@example.com",
        "a@[192.0.2.7]",
    ],
)
def test_an_address_that_a_login_does_not_accept_is_listed(make_user: Callable[..., Any], email: str) -> None:
    user = change(make_user(), email=email)

    assert reasons()["address_refused"] == [str(user.pk)]


@pytest.mark.parametrize(
    "email",
    [
        "O'Hara+tag/1=2@sub.example.co.uk",
        "a-b_c.d@xn--bcher-kva.example",
        "a@bücher.example",
        "x" * 64 + "@example.com",
    ],
)
def test_an_unusual_address_that_a_login_accepts_is_not_listed(make_user: Callable[..., Any], email: str) -> None:
    make_user(email)

    assert doctor()[0] == 0
