"""Custom schemas of a project: what they accept, what they must never accept, and what they show."""

import json
import os
import quopri
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.postgres.constraints import ExclusionConstraint
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, models
from django.db.models.functions import Lower
from pydantic import SecretBytes
from pytest_django import DjangoAssertNumQueries

from ninja_auth_kit import services, signals
from ninja_auth_kit.api.custom_schemas import additional_fields
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import InvalidInputError
from ninja_auth_kit.models import EmailAddress
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, users_have_names
from tests.host_app.odd_schemas import ChoosingProfile, Dangerous
from tests.servers import ROOT, Server
from tests.test_checks import ids, ours

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]

OTHER_PASSWORD = "another horse, another battery"
HOST = "tests.host_app.schemas."
ODD = "tests.host_app.odd_schemas."


def is_uuid_user() -> bool:
    return bool(get_user_model()._meta.label == "host_app.User")


needs_a_uuid_user = pytest.mark.skipif("not is_uuid_user()", reason="only the user model with a UUID has these fields")


def problem(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 422, response.content
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


def only_user() -> Any:
    return get_user_model().objects.get()


@pytest.fixture
def profile(host_api: Callable[..., Api], user: Any) -> Callable[..., Any]:
    """Return a function for `PATCH me`, in a project with a name in the profile."""
    api = host_api(PROFILE_SCHEMA=HOST + "Profile")
    token = api.pair()["access_token"]
    return lambda body: api.patch("me", body, token=token)


# Without a custom schema


def test_without_a_schema_nothing_can_be_changed(api: Api, user: Any, audited: None) -> None:
    token = api.pair()["access_token"]

    answer = api.patch("me", {}, token=token)

    assert (answer.status_code, answer.json()) == (200, api.get("me", token=token).json())
    for field in ("first_name", "email", "password", "is_staff"):
        assert problem(api.patch("me", {field: "x"}, token=token)) == {(field, "unknown_field")}
    assert api.patch("me", {}).status_code == 401
    assert event_names() == ["session.logged_in"]


# PROFILE_SCHEMA


def test_a_profile_is_changed_by_what_is_sent_and_by_nothing_else(
    host_api: Callable[..., Api], user: Any, audited: None
) -> None:
    api = host_api(PROFILE_SCHEMA=HOST + "Profile", USER_SCHEMA=HOST + "Me")
    token = api.pair()["access_token"]

    first = api.patch("me", {"first_name": "Ada", "last_name": "King"}, token=token)
    second = api.patch("me", {"last_name": "Lovelace"}, token=token)

    assert (first.status_code, first.json()["initials"]) == (200, "AK")
    assert second.json() == api.get("me", token=token).json()
    user.refresh_from_db()
    assert (user.first_name, user.last_name) == ("Ada", "Lovelace")
    updated = [event for event in events() if event["type"] == "ninja-auth-kit.user.updated.v1"]
    assert [event["data"]["details"] for event in updated] == [
        {"fields": ["first_name", "last_name"]},
        {"fields": ["last_name"]},
    ]
    assert {(event["data"]["outcome"], event["data"]["actor"]["id"]) for event in updated} == {
        ("success", str(user.pk))
    }
    assert "Lovelace" not in str(events())


def test_a_change_is_one_update_of_what_changed(
    profile: Callable[..., Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(5) as captured:  # including BEGIN and COMMIT
        profile({"first_name": "Ada", "last_name": ""})

    statements = [query["sql"] for query in captured.captured_queries]
    (update,) = [statement for statement in statements if statement.startswith("UPDATE")]
    assert '"first_name" = ' in update
    assert "last_name" not in update
    assert "password" not in update
    assert any("FOR NO KEY UPDATE" in statement for statement in statements)


def test_what_is_as_it_was_is_not_written_and_no_event(profile: Callable[..., Any], audited: None) -> None:
    heard: list[Any] = []

    def listen(fields: list[str], **_: Any) -> None:
        heard.append(fields)

    signals.account_updated.connect(listen)
    try:
        assert profile({"first_name": "Ada"}).status_code == 200
        assert profile({"first_name": "Ada"}).status_code == 200
        assert profile({}).status_code == 200
    finally:
        signals.account_updated.disconnect(listen)

    assert heard == [["first_name"]]
    assert event_names() == ["user.updated"]


@pytest.mark.parametrize("schema", ["Profile", "Registration"])
def test_openapi_knows_the_fields_of_the_host(host_api: Callable[..., Api], schema: str) -> None:
    api = host_api(PROFILE_SCHEMA=HOST + "Profile", USER_SCHEMA=HOST + "Me", REGISTRATION_SCHEMA=HOST + "Registration")

    document = api.get("openapi.json").json()

    component = document["components"]["schemas"][schema]
    assert {"first_name", "last_name"} <= set(component["properties"])
    assert component["additionalProperties"] is False
    method, path = {"Profile": ("patch", "me"), "Registration": ("post", "register")}[schema]
    body = document["paths"][f"/api/auth/{path}"][method]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": f"#/components/schemas/{schema}"}
    assert ("username" in document["components"]["schemas"]["Registration"]["properties"]) is users_have_names()
    shown = document["paths"]["/api/auth/me"]["patch"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert shown == {"$ref": "#/components/schemas/Me"}


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize(
    "field", ["is_staff", "is_superuser", "is_active", "password", "email", "id", "email_verified"]
)
def test_nobody_gets_rights_by_a_field_that_the_schema_does_not_have(
    host_api: Callable[..., Api], user: Any, field: str
) -> None:
    before = dict(get_user_model().objects.values().get())
    api = host_api(PROFILE_SCHEMA=HOST + "Profile")
    token = api.pair()["access_token"]
    assert problem(api.patch("me", {"first_name": "Ada", field: True}, token=token)) == {(field, "unknown_field")}

    api = host_api(PROFILE_SCHEMA=ODD + "AllowingProfile")
    assert problem(api.patch("me", {"first_name": "Ada", field: True}, token=token)) == {(field, "unknown_field")}

    after = dict(get_user_model().objects.values().get())
    assert {**before, "last_login": after["last_login"]} == after
    assert api.patch("me", {"first_name": "Ada"}, token=token).status_code == 200
    assert EmailAddress.objects.get().email == EMAIL


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize("name", ["is_staff", "password", "email", "note", "groups", "nonsense", "id"])
def test_the_service_refuses_such_fields_too(user: Any, name: str) -> None:
    with pytest.raises(ValueError, match=repr(name)):
        services.update_account(user=user, values={name: "x"}, client=ClientInfo())
    with pytest.raises(ValueError, match=repr(name)):
        services.register(
            email="new@example.com", password=PASSWORD, username="new", fields={name: "x"}, client=ClientInfo()
        )


@pytest.mark.security("CRED-11")
@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "\x00"])
def test_text_that_no_database_takes_is_an_input_error(host_api: Callable[..., Api], user: Any, text: str) -> None:
    api = host_api(PROFILE_SCHEMA=HOST + "Profile", REGISTRATION_SCHEMA=HOST + "Registration")

    answers = [
        api.patch("me", {"last_name": text}, token=api.pair()["access_token"]),
        api.register(first_name="Ada", last_name=text),
        api.register("new@example.com", first_name="Ada", last_name=text),
    ]

    assert [problem(answer) for answer in answers] == [{("last_name", "control_character")}] * 3


@pytest.mark.security("CRED-03", "CRED-11")
def test_the_field_of_the_model_has_a_say_whoever_has_the_address(host_api: Callable[..., Api], user: Any) -> None:
    api = host_api(PROFILE_SCHEMA=HOST + "Profile", REGISTRATION_SCHEMA=HOST + "Registration")

    answers = [
        api.patch("me", {"first_name": "x" * 151}, token=api.pair()["access_token"]),
        api.register(first_name="x" * 151),
        api.register("new@example.com", first_name="x" * 151),
    ]

    assert [problem(answer) for answer in answers] == [{("first_name", "too_long")}] * 3
    assert "150" in answers[0].json()["errors"][0]["message"]
    assert answers[1].content == answers[2].content
    assert api.patch("me", {"first_name": None}, token=api.pair()["access_token"]).json()["errors"] == [
        {"field": "first_name", "code": "required", "message": "This field cannot be null."}
    ]


@pytest.mark.security("CRED-19")
def test_what_the_validators_of_the_host_say_of_the_input_is_not_repeated(
    host_api: Callable[..., Api], user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    api = host_api(PROFILE_SCHEMA=HOST + "Profile", REGISTRATION_SCHEMA=HOST + "Registration")
    token = api.pair()["access_token"]

    answers = [
        api.patch("me", {"first_name": "C4N4RY"}, token=token),
        api.patch("me", {"first_name": ["C4N4RY"]}, token=token),
        api.patch("me", {"C4N4RY?": "C4N4RY"}, token=token),
        api.register("new@example.com", first_name="C4N4RY"),
    ]

    assert [answer.status_code for answer in answers] == [422] * 4
    assert problem(answers[0]) == problem(answers[3]) == {("first_name", "invalid")}
    assert not any(b"C4N4RY" in answer.content for answer in answers)
    assert "C4N4RY" not in caplog.text


def test_a_schema_that_ninja_makes_of_the_model_is_a_profile_too(host_api: Callable[..., Api], user: Any) -> None:
    api = host_api(PROFILE_SCHEMA=ODD + "OfTheModel")
    token = api.pair()["access_token"]

    assert api.patch("me", {"first_name": "Ada"}, token=token).status_code == 200
    assert problem(api.patch("me", {"last_name": "King"}, token=token)) == {("last_name", "unknown_field")}
    assert only_user().first_name == "Ada"


def test_a_user_who_is_disabled_or_gone_meanwhile_changes_nothing(user: Any) -> None:
    get_user_model().objects.update(is_active=False)
    with pytest.raises(services.account.SessionEndedError):
        services.update_account(user=user, values={"first_name": "Ada"}, client=ClientInfo())
    get_user_model().objects.all().delete()
    with pytest.raises(services.account.SessionEndedError):
        services.update_account(user=user, values={"first_name": "Ada"}, client=ClientInfo())


@pytest.fixture
def rich(host_api: Callable[..., Api], user: Any) -> Callable[..., Any]:
    """Return a function for `PATCH me`, in a project with profile fields of every type."""
    api = host_api(PROFILE_SCHEMA=ODD + "RichProfile")
    token = api.pair()["access_token"]
    return lambda body: api.patch("me", body, token=token)


@needs_a_uuid_user
def test_a_value_that_another_has_and_that_must_be_unique_is_taken(
    rich: Callable[..., Any], make_user: Callable[..., Any], audited: None
) -> None:
    make_user("bob@example.com", nickname="bob")

    assert problem(rich({"nickname": "bob", "age": 40})) == {("nickname", "nickname_taken")}

    user = get_user_model().objects.get(email=EMAIL)
    assert (user.nickname, user.age) == (None, None)
    assert event_names() == []
    assert rich({"nickname": "ada"}).status_code == 200
    assert rich({"nickname": "ada"}).status_code == 200
    assert rich({"nickname": None}).status_code == 200


@needs_a_uuid_user
def test_what_a_constraint_refuses_is_no_server_error(rich: Callable[..., Any]) -> None:
    team = Group.objects.create(name="poets")

    assert problem(rich({"age": 12})) == {("age", "invalid")}
    assert problem(rich({"age": -1})) == {("age", "invalid")}
    assert problem(rich({"age": 10**30})) == {("age", "invalid")}
    assert problem(rich({"team": team.pk + 1})) == {("team", "invalid")}
    assert rich({"team": team.pk, "age": 13}).status_code == 200
    assert (only_user().team, only_user().age) == (team, 13)


@needs_a_uuid_user
def test_a_failure_that_is_none_of_the_input_stays_a_server_error(rich: Callable[..., Any]) -> None:
    def listen(**_: Any) -> None:
        raise IntegrityError("of the host's own tables")

    signals.account_updated.in_transaction.connect(listen)
    try:
        assert rich({"age": 40}).status_code == 500
    finally:
        signals.account_updated.in_transaction.disconnect(listen)

    assert only_user().age is None


@needs_a_uuid_user
@pytest.mark.security("CRED-11", "CRED-19")
@pytest.mark.parametrize(
    "about",
    [b'{"a\\u0000": 1}', b'{"a": ["\\u0000"]}', b'{"a": {"b": "\\ud800"}}', b'{"a": 1e999}', b'{"a": [[-1e999]]}'],
)
def test_what_postgresql_does_not_take_in_json_is_an_input_error(rich: Callable[..., Any], about: bytes) -> None:
    response = rich(b'{"about": ' + about + b"}")

    assert {field for field, _ in problem(response)} == {"about"}
    assert rich({"about": {"city": "London", "c4n4ry": {"b": [1, None, "é"]}}}).status_code == 200


@needs_a_uuid_user
def test_what_is_another_value_in_json_alone_is_a_change(rich: Callable[..., Any], audited: None) -> None:
    for about in ({"a": 1, "bb": "x"}, {"bb": "x", "a": 1}, {"a": True, "bb": "x"}):
        assert rich({"about": about}).status_code == 200
        assert get_user_model().objects.get().about == about

    assert only_user().about["a"] is True
    assert event_names() == ["user.updated"] * 2


@pytest.mark.security("CRED-18")
def test_a_file_is_not_chosen_by_its_name(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = models.FileField()
    photo.set_attributes_from_name("photo")
    monkeypatch.setattr(get_user_model()._meta, "get_field", lambda name: photo)

    with pytest.raises(ValueError, match="'photo'"):
        services.update_account(user=user, values={"photo": "somebody/elses.png"}, client=ClientInfo())


@needs_a_uuid_user
@pytest.mark.security("CRED-19")
def test_the_keys_of_an_object_are_input_too_and_not_repeated(rich: Callable[..., Any]) -> None:
    response = rich({"about": "c4n4ry", "age": {"c4n4ry": 1}})

    assert problem(response) == {("about", "invalid"), ("age", "invalid")}
    assert b"c4n4ry" not in response.content


@needs_a_uuid_user
def test_a_secret_of_the_host_is_stored_and_not_its_asterisks(rich: Callable[..., Any]) -> None:
    assert rich({"first_name": "Ada"}).status_code == 200

    assert only_user().first_name == "Ada"


def test_a_choice_is_stored_as_its_value_and_secret_bytes_as_text(host_api: Callable[..., Api], user: Any) -> None:
    api = host_api(PROFILE_SCHEMA=ODD + "ChoosingProfile")
    token = api.pair()["access_token"]

    assert api.patch("me", {"first_name": "red", "last_name": "King é"}, token=token).status_code == 200

    assert (only_user().first_name, only_user().last_name) == ("red", "King é")
    assert api.patch("me", {"first_name": "blue"}, token=token).status_code == 422


@needs_a_uuid_user
def test_what_is_inside_a_value_is_stored_with_its_defaults_choices_and_secrets(
    host_api: Callable[..., Api], user: Any
) -> None:
    api = host_api(PROFILE_SCHEMA=ODD + "NestingProfile")
    about = {"colours": ["red"], "word": "mellon"}

    assert api.patch("me", {"about": about}, token=api.pair()["access_token"]).status_code == 200

    assert only_user().about == {**about, "score": 0}


@pytest.mark.security("CRED-11")
@pytest.mark.parametrize("secret", [b"\xff", b"\x00"])
def test_secret_bytes_that_are_no_text_are_an_input_error(user: Any, secret: bytes) -> None:
    body = ChoosingProfile(last_name=SecretBytes(secret))

    with pytest.raises(InvalidInputError):
        services.update_account(user=user, values=additional_fields(body, only_sent=True), client=ClientInfo())


# REGISTRATION_SCHEMA


def test_a_registration_takes_the_fields_of_the_host(host_api: Callable[..., Api]) -> None:
    api = host_api(REGISTRATION_SCHEMA=HOST + "Registration")

    assert problem(api.register()) == {("first_name", "required")}
    assert api.register(first_name="Ada").status_code == 202

    assert (only_user().first_name, only_user().last_name) == ("Ada", "")
    assert (only_user().is_staff, only_user().authkit_email.verified_at) == (False, None)


@pytest.mark.security("VER-10")
def test_a_registration_that_replaces_another_leaves_nothing_of_it(host_api: Callable[..., Api]) -> None:
    api = host_api(REGISTRATION_SCHEMA=HOST + "Registration")
    api.register(first_name="Mallory", last_name="of the first")

    api.register(password=OTHER_PASSWORD, first_name="Ada")

    assert (only_user().first_name, only_user().last_name) == ("Ada", "")
    assert only_user().check_password(OTHER_PASSWORD)


@pytest.mark.security("CRED-01", "CRED-02")
def test_the_fields_of_the_host_do_not_tell_who_has_an_account(
    host_api: Callable[..., Api], make_user: Callable[..., Any]
) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    api = host_api(REGISTRATION_SCHEMA=HOST + "Registration")
    addresses = ["new@example.com", "verified@example.com", "pending@example.com", "disabled@example.com"]

    answers = [
        api.register(address, username=f"name{number}", first_name="Eve") for number, address in enumerate(addresses)
    ]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    named = get_user_model().objects.filter(first_name="Eve").values_list("email", flat=True)
    assert set(named) == {"new@example.com", "pending@example.com"}


@needs_a_uuid_user
@pytest.mark.security("CRED-01", "CRED-03")
def test_what_a_constraint_refuses_is_refused_whoever_has_the_address(host_api: Callable[..., Api], user: Any) -> None:
    api = host_api(REGISTRATION_SCHEMA=ODD + "RichRegistration")

    answers = [api.register(address, age=12) for address in (EMAIL, "new@example.com")]

    assert problem(answers[0]) == {("", "invalid")}
    assert answers[0].content == answers[1].content
    assert b"old_enough" not in answers[0].content
    assert api.register("new@example.com", age=13, about={"city": "London"}).status_code == 202


@pytest.mark.security("CRED-18")
def test_a_registration_that_overlooks_fields_gives_no_rights(host_api: Callable[..., Api]) -> None:
    api = host_api(REGISTRATION_SCHEMA=ODD + "IgnoringRegistration")

    assert api.register(first_name="Ada", is_staff=True, is_superuser=True, is_active=False).status_code == 202

    user = only_user()
    assert (user.first_name, user.is_staff, user.is_superuser, user.is_active) == ("Ada", False, False, True)


def test_a_closed_registration_says_so_whatever_the_fields(host_api: Callable[..., Api]) -> None:
    api = host_api(REGISTRATION_SCHEMA=HOST + "Registration", REGISTRATION_OPEN=False)

    assert api.register(first_name="x" * 200).json()["code"] == "registration_closed"


# USER_SCHEMA


@pytest.mark.security("SES-21")
def test_me_is_shown_as_the_host_wants_it_by_one_query(
    host_api: Callable[..., Api], make_user: Callable[..., Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = make_user(first_name="Ada", last_name="King")
    api = host_api(USER_SCHEMA=HOST + "Me")
    token = api.pair()["access_token"]

    with django_assert_num_queries(1):
        shown = api.get("me", token=token).json()

    assert (shown["first_name"], shown["initials"]) == ("Ada", "AK")
    assert (shown["id"], shown["email"], shown["email_verified"]) == (str(user.pk), EMAIL, True)
    assert host_api(USER_SCHEMA=ODD + "Plain").get("me", token=token).json() == {"first_name": "Ada"}


@pytest.mark.security("HTTP-04")
def test_a_schema_that_no_user_can_fill_is_a_problem_without_a_word(
    host_api: Callable[..., Api], user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api = host_api(USER_SCHEMA=ODD + "Demanding")

    response = api.get("me", token=api.pair()["access_token"])

    assert (response.status_code, response.json()["code"]) == (500, "server_error")
    assert b"height" not in response.content
    assert "height" in caplog.text


# Schemas that are rejected at start


REFUSED = [
    ("REGISTRATION_SCHEMA", "nowhere.schemas.Registration", "E011"),
    ("REGISTRATION_SCHEMA", HOST + "Registrar", "E011"),
    ("REGISTRATION_SCHEMA", HOST + "Profile", "E011"),
    ("PROFILE_SCHEMA", HOST + "claims", "E011"),
    ("USER_SCHEMA", ODD + "NestedAbout", "E011"),
    ("REGISTRATION_SCHEMA", ODD + "DangerousRegistration", "E012"),
    ("REGISTRATION_SCHEMA", ODD + "RetypedRegistration", "E012"),
    ("REGISTRATION_SCHEMA", ODD + "LooseRegistration", "E012"),
    ("USER_SCHEMA", ODD + "WholeUser", "E012"),
    ("USER_SCHEMA", ODD + "AliasedHash", "E012"),
    ("PROFILE_SCHEMA", "tests.host_app.broken_schemas.Profile", "E011"),
    ("PROFILE_SCHEMA", "tests.host_app.late_schemas.Profile", "E011"),
    ("PROFILE_SCHEMA", ODD + "Dangerous", "E012"),
    ("PROFILE_SCHEMA", ODD + "RequiringProfile", "E012"),
    ("PROFILE_SCHEMA", ODD + "ProfileOfTheWrongKind", "E012"),
]


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize(("setting", "path", "number"), REFUSED)
def test_a_schema_that_must_not_be_is_a_check_error_and_no_api_is_built_with_it(
    host_api: Callable[..., Api], kit: Callable[..., None], setting: str, path: str, number: str
) -> None:
    kit(**{setting: path})
    (message, *_) = [message for message in ours() if message.id == f"ninja_auth_kit.{number}"]

    with pytest.raises(ImproperlyConfigured) as caught:
        host_api()

    assert str(caught.value) == f"({message.id}) {message.msg}\n\tHINT: {message.hint}"
    assert f"NINJA_AUTH_KIT['{setting}']" in message.msg
    assert message.hint


@pytest.mark.security("CRED-18")
def test_every_dangerous_field_is_named(kit: Callable[..., None]) -> None:
    kit(PROFILE_SCHEMA=ODD + "Dangerous")

    named = {re.findall(r"must not have the field '(\w+)'", message.msg)[0] for message in ours()}

    assert named == set(Dangerous.model_fields)


def test_schemas_that_fit_have_nothing_to_complain_about(kit: Callable[..., None]) -> None:
    kit(
        REGISTRATION_SCHEMA=HOST + "Registration",
        PROFILE_SCHEMA=HOST + "Profile",
        USER_SCHEMA=HOST + "Me",
        ACCESS_TOKEN_CLAIMS=HOST + "claims",
    )

    assert ids() == []


@pytest.mark.security("CRED-01")
def test_a_field_of_an_exclusion_constraint_is_not_for_registration(
    kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(REGISTRATION_SCHEMA=ODD + "IgnoringRegistration")
    assert ids() == []

    constraint = ExclusionConstraint(expressions=[("first_name", "=")], name="x")
    monkeypatch.setattr(get_user_model()._meta, "constraints", [constraint])
    assert "E012" in ids()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_value_that_another_has_in_another_case_is_taken(
    profile: Callable[..., Any], make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    make_user("bob@example.com", first_name="Bob")
    table = get_user_model()._meta.db_table
    if is_known:
        rule = models.UniqueConstraint(Lower("first_name"), name="host_first_name")
        monkeypatch.setattr(get_user_model()._meta, "constraints", [rule])
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE UNIQUE INDEX host_first_name ON {table} (lower(first_name))")
    try:
        assert problem(profile({"first_name": "BOB", "last_name": "x"})) == {
            ("first_name", "first_name_taken") if is_known else ("", "taken")
        }
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX host_first_name")


# Everything together, in separate processes


def start(*command: str, **keys: str) -> tuple[int, str]:
    """Run Python in a process with these settings, and return its exit code and output."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings_server",
        "TEST_SETTINGS": os.environ["DJANGO_SETTINGS_MODULE"],
        "TEST_KIT": json.dumps(keys),
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("first", ["tests.host_app.schemas", "ninja_auth_kit.api.schemas", "ninja_auth_kit.urls"])
def test_the_modules_of_the_host_and_of_the_kit_can_be_imported_in_any_order(first: str) -> None:
    script = f"import django; django.setup(); import {first}, ninja_auth_kit.urls; print('both')"

    code, output = start("-c", script, REGISTRATION_SCHEMA=HOST + "Registration", USER_SCHEMA=HOST + "Me")

    assert (code, output) == (0, "both\n")


@pytest.mark.security("CRED-18")
@pytest.mark.parametrize(("setting", "path", "number"), REFUSED)
def test_no_process_serves_what_must_not_be(setting: str, path: str, number: str) -> None:
    code, output = start("-m", "django", "check", **{setting: path})

    assert code != 0
    assert f"(ninja_auth_kit.{number}) NINJA_AUTH_KIT['{setting}']" in output
    assert "HINT: " in output


def test_a_host_that_replaces_everything(servers: Callable[..., Server], tmp_path: Path) -> None:
    backend = "django.core.mail.backends.filebased.EmailBackend"
    server = servers(
        environment={"TEST_MAIL_BACKEND": backend, "TEST_MAIL_PATH": str(tmp_path)},
        REGISTRATION_SCHEMA=HOST + "Registration",
        PROFILE_SCHEMA=HOST + "Profile",
        USER_SCHEMA=HOST + "Me",
        ACCESS_TOKEN_CLAIMS=HOST + "claims",
    )
    body = {"email": EMAIL, "password": PASSWORD, "first_name": "Ada"} | (
        {"username": "ada"} if users_have_names() else {}
    )

    assert server.request("POST", "/api/auth/register", body)[0] == 202
    token = mailed_token_in(tmp_path)
    assert server.request("POST", "/api/auth/verify-email", {"token": token, "password": PASSWORD})[0] == 200
    status, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert status == 200
    me = server.request("PATCH", "/api/auth/me", {"last_name": "King"}, token=pair["access_token"])
    assert (me[0], me[1]["initials"]) == (200, "AK")
    assert server.request("GET", "/api/auth/me", token=pair["access_token"]) == me
    said = {"scope": "notes", "name": "Ada", "for": pair["session_id"]}
    assert server.request("GET", "/host/claims", token=pair["access_token"]) == (200, said)
    refreshed = server.request("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})[1]
    assert server.request("GET", "/host/stateless-claims", token=refreshed["access_token"]) == (200, said)
    assert server.request("PATCH", "/api/auth/me", {"is_staff": True}, token=refreshed["access_token"])[0] == 422


def mailed_token_in(folder: Path) -> str:
    """Return the token of an email that another process has written there after its response."""
    for _ in range(100):
        for path in folder.iterdir():
            match = re.search(r"#token=(\S+)", quopri.decodestring(path.read_bytes()).decode(errors="replace"))
            if match:
                return match[1]
        time.sleep(0.1)
    raise AssertionError("no email was sent")
