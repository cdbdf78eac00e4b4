"""`CREATE_USER`: how a project creates the users of registrations."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Lower

from ninja_auth_kit import signals
from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models import EmailAddress
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token
from tests.host_app import user_creation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]

HOOKS = "tests.host_app.user_creation."
SCHEMA = "tests.host_app.schemas.Registration"
ADDRESSES = ["new@example.com", "verified@example.com", "pending@example.com", "disabled@example.com"]


@pytest.fixture(autouse=True)
def no_calls() -> None:
    user_creation.CALLS.clear()


@pytest.fixture
def standings(make_user: Callable[..., Any]) -> None:
    """Create users for all of `ADDRESSES` but the first."""
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)


@pytest.fixture
def hooked(host_api: Callable[..., Api]) -> Callable[[str], Api]:
    """Return a function that builds the API of a project with one of the functions as `CREATE_USER`."""
    return lambda name: host_api(CREATE_USER=HOOKS + name, REGISTRATION_SCHEMA=SCHEMA)


def problem(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 422, response.content
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


def user_of(email: str) -> Any:
    return get_user_model().objects.get(email=email)


def test_the_function_gets_the_checked_values_and_its_user_is_stored(hooked: Callable[[str], Api]) -> None:
    api = hooked("create_user")

    assert api.register(first_name="Ada").status_code == 202

    (values,) = user_creation.CALLS
    assert (values["email"], values["first_name"], "password" in values) == (EMAIL, "Ada", False)
    user = user_of(EMAIL)
    assert (user.last_name, user.check_password(PASSWORD)) == ("Ada the 1.", True)
    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200
    assert api.login().status_code == 200


@pytest.mark.security("CRED-01")
@pytest.mark.usefixtures("standings")
def test_the_function_is_called_for_every_address_and_the_answer_is_the_same(hooked: Callable[[str], Api]) -> None:
    api = hooked("create_user")

    answers = [
        api.register(address, username=f"name{number}", first_name="Eve") for number, address in enumerate(ADDRESSES)
    ]

    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert [values["email"] for values in user_creation.CALLS] == ADDRESSES
    changed = get_user_model().objects.filter(last_name__startswith="Eve the ").values_list("email", flat=True)
    assert set(changed) == {"new@example.com", "pending@example.com"}


@pytest.mark.security("VER-10")
def test_a_registration_that_replaces_another_leaves_nothing_that_the_function_had_set(
    hooked: Callable[[str], Api], host_api: Callable[..., Api]
) -> None:
    hooked("create_user").register(first_name="Mallory")
    before = user_of(EMAIL)

    hooked("create_user").register(first_name="Ada")
    assert user_of(EMAIL).last_name == "Ada the 2."

    host_api(CREATE_USER=HOOKS + "only_first_names", REGISTRATION_SCHEMA="tests.host_app.schemas.UsualRegistration")
    Api().register()
    after = user_of(EMAIL)
    assert (after.first_name, after.last_name) == ("Generated", "")
    assert after.pk == before.pk
    assert getattr(after, "date_joined", None) == getattr(before, "date_joined", None)


def test_emails_go_to_the_address_as_it_was_typed(host_api: Callable[..., Api]) -> None:
    api = host_api(CREATE_USER=HOOKS + "lower_case", REGISTRATION_SCHEMA="tests.host_app.schemas.UsualRegistration")

    assert api.register("Ada@Example.com", username="ADA").status_code == 202

    assert EmailAddress.objects.get().email == "Ada@Example.com"
    user = user_of("Ada@Example.com")
    assert getattr(user, "username", "ada") == "ada"


WRONG = {
    "saved": "must return an unsaved user",
    "nothing": "(got a value of the type NoneType)",
    "text": "(got a value of the type str)",
    "another_address": "must not change the email address in 'email'",
    "no_address": "must not change the email address in 'email'",
    "inactive": "must not set is_active",
    "administrator": "must not set is_staff or is_superuser",
    "failing": "no user for",
}


@pytest.mark.security("CRED-01")
@pytest.mark.usefixtures("standings")
@pytest.mark.parametrize("name", WRONG)
def test_a_function_that_does_something_else_is_a_server_error_for_every_address_and_stores_nothing(
    hooked: Callable[[str], Api], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    api, before = hooked(name), list(get_user_model().objects.order_by("pk").values())

    with caplog.at_level(logging.ERROR):
        answers = [
            api.register(address, username=f"name{number}", first_name="Eve")
            for number, address in enumerate(ADDRESSES)
        ]

    assert {(answer.status_code, answer.content) for answer in answers} == {(500, answers[0].content)}
    assert WRONG[name] in caplog.text
    assert list(get_user_model().objects.order_by("pk").values()) == before


@pytest.mark.security("CRED-01")
def test_a_function_that_asks_who_has_the_address_is_told_not_to(
    hooked: Callable[[str], Api], user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    is_unique = get_user_model()._meta.get_field("email").unique  # otherwise full_clean() does not ask

    with caplog.at_level(logging.ERROR):
        answer = hooked("cleaned").register(username="other", first_name="Eve")

    assert answer.status_code == (500 if is_unique else 202)
    assert ("must not check whether the email address is in use" in caplog.text) == is_unique


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize(
    "constraint",
    [
        models.UniqueConstraint(Lower("email"), name="host_email"),
        models.UniqueConstraint(fields=["email", "first_name"], name="host_email"),
        models.UniqueConstraint(fields=["email"], condition=models.Q(is_active=True), name="host_email"),
        models.UniqueConstraint("email", "is_active", name="host_email", violation_error_message="Taken."),
    ],
)
def test_it_is_told_so_too_if_a_constraint_makes_the_address_unique(
    hooked: Callable[[str], Api],
    user: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    constraint: models.UniqueConstraint,
) -> None:
    meta = get_user_model()._meta
    monkeypatch.setattr(meta, "constraints", [*meta.constraints, constraint])
    monkeypatch.setattr(meta.get_field("email"), "_unique", False)
    get_user_model().objects.update(first_name="Eve")

    with caplog.at_level(logging.ERROR):
        answer = hooked("cleaned").register(username="other", first_name="Eve")

    assert answer.status_code == 500
    assert "must not check whether the email address is in use" in caplog.text


@pytest.mark.security("CRED-01", "CRED-19")
@pytest.mark.usefixtures("standings")
def test_a_validation_error_names_the_fields_for_every_address(hooked: Callable[[str], Api]) -> None:
    api = hooked("reserved")

    answers = [
        api.register(address, username=f"name{number}", first_name="c4n4ry")
        for number, address in enumerate(ADDRESSES)
    ]

    assert problem(answers[0]) == {("first_name", "name_reserved"), ("last_name", "invalid")}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert b"Enter a longer name." in answers[0].content
    assert b"c4n4ry" not in answers[0].content


def test_a_validation_error_about_no_field_has_its_code_and_text(hooked: Callable[[str], Api]) -> None:
    answer = hooked("closed").register(first_name="Ada")

    assert problem(answer) == {("", "sunday")}
    assert "on Sundays" in answer.json()["errors"][0]["message"]
    assert problem(hooked("too_long").register(first_name="Ada")) == {("last_name", "too_long")}


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, "free@example.com"])
def test_a_generated_value_that_must_be_unique_is_reserved_whosever_the_address_is(
    hooked: Callable[[str], Api], user: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    rule = models.UniqueConstraint("last_name", name="host_last_name", condition=~models.Q(last_name=""))
    monkeypatch.setattr(get_user_model()._meta, "constraints", [rule])
    api = hooked("same_name")
    assert api.register(address, username="first", first_name="Ada").status_code == 202

    answer = api.register("other@example.com", username="second", first_name="Bob")

    assert problem(answer) == {("last_name", "last_name_taken")}


# Rows that need the saved user


@pytest.fixture
def profiles() -> Iterator[Callable[..., None]]:
    """Return a function that connects a receiver, which stores a row for each new user in the transaction."""
    connected: list[Any] = []

    def connect(then: Callable[[Any], None] = lambda user: None) -> None:
        def add_profile(sender: Any, *, user: Any, replaced: bool, **_: Any) -> None:
            Group.objects.update_or_create(name=f"profile of {user.pk}")
            then(user)

        connected.append(add_profile)
        signals.user_registered.in_transaction.connect(add_profile, weak=False)

    yield connect
    for receiver in connected:
        signals.user_registered.in_transaction.disconnect(receiver)


def test_a_receiver_of_user_registered_stores_rows_of_the_saved_user(api: Api, profiles: Callable[..., None]) -> None:
    profiles()

    api.register()
    api.register(password="another horse, another battery")

    assert list(Group.objects.values_list("name", flat=True)) == [f"profile of {user_of(EMAIL).pk}"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError(FieldError("username", "no_bots", "Usernames must not begin with bot.")), 422),
        (RuntimeError("the receiver fails"), 500),
    ],
)
def test_nothing_is_stored_or_sent_if_a_receiver_raises(
    api: Api, audited: None, profiles: Callable[..., None], error: Exception, status: int
) -> None:
    def fail(user: Any) -> None:
        assert user.pk is not None
        raise error

    profiles(fail)

    assert api.register().status_code == status

    assert not get_user_model().objects.exists()
    assert not EmailAddress.objects.exists()
    assert not Group.objects.exists()
    assert "user.registered" not in event_names()


def test_a_replaced_registration_is_as_it_was_if_a_receiver_raises(api: Api, profiles: Callable[..., None]) -> None:
    api.register()

    def fail(user: Any) -> None:
        raise RuntimeError("the receiver fails")

    profiles(fail)

    assert api.register(password="another horse, another battery").status_code == 500
    assert user_of(EMAIL).check_password(PASSWORD)
    assert not Group.objects.exists()
