"""Unique fields beside the email address: a conflict is named, and does not reveal who has an account."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import NotSupportedError, connection, models
from django.db.models.functions import Lower
from django.db.models.signals import pre_save
from django.test.utils import CaptureQueriesContext

from ninja_auth_kit.models import ShadowRegistration
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token
from tests.servers import Server
from tests.test_checks import ids

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]

SCHEMAS = "tests.host_app.schemas."
FREE = "free@example.com"
member = pytest.mark.skipif("not is_member()", reason="only this user model has other unique fields")


def is_member() -> bool:
    return bool(get_user_model()._meta.label == "host_app.Member")


def problem(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 422, response.content
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


@pytest.fixture
def full(host_api: Callable[..., Api]) -> Api:
    """Return the API of a project in which people register and change every unique field."""
    return host_api(REGISTRATION_SCHEMA=SCHEMAS + "FullMemberRegistration", PROFILE_SCHEMA=SCHEMAS + "MemberProfile")


# What one registration has, what another has, and the fields that are in conflict.
CONFLICTS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"username": "wanted"}, {"username": "wanted"}, {"username"}),
    ({"handle": "Zoë"}, {"handle": "zOË"}, {"handle"}),
    ({"nickname": "Countess"}, {"nickname": "COUNTESS"}, {"nickname"}),
    ({"badge": "7"}, {"badge": "7"}, {"badge"}),  # both have the rank that is the default of the database
    ({"club": "chess", "number": 7}, {"club": "chess", "number": 7}, {"club", "number"}),
    ({"callsign": "dl1abc", "is_on_air": True}, {"callsign": "dl1abc", "is_on_air": True}, {"callsign"}),
    ({"username": "ada", "handle": "Ada"}, {"username": "ada", "handle": "ada"}, {"username", "handle"}),
]
HARMLESS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"handle": None}, {"handle": None}),
    ({}, {}),
    ({"handle": "Zoë"}, {"handle": "Zoe"}),
    ({"club": "chess", "number": 7}, {"club": "chess", "number": 8}),
    ({"club": "chess", "number": None}, {"club": "chess", "number": None}),
    ({"callsign": "dl1abc", "is_on_air": True}, {"callsign": "dl1abc", "is_on_air": False}),
    ({"callsign": "dl1abc"}, {"callsign": "dl1abc"}),
    ({"username": "chess", "club": "x"}, {"username": "x", "club": "chess"}),
]


@member
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
@pytest.mark.parametrize(("first", "second", "fields"), CONFLICTS)
def test_a_conflict_is_named_whosever_the_address_of_the_first_registration_is(
    full: Api, user: Any, audited: None, address: str, first: dict[str, Any], second: dict[str, Any], fields: set[str]
) -> None:
    assert full.register(address, **{"username": "first", **first}).status_code == 202

    answer = full.register("other@example.com", **{"username": "second", **second})

    assert problem(answer) == {(field, f"{field}_taken") for field in fields}
    assert get_user_model().objects.filter(email="other@example.com").count() == 0
    assert events()[-1]["data"]["reason"].endswith("_taken")


@member
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
@pytest.mark.parametrize(("first", "second"), HARMLESS)
def test_values_that_the_database_takes_twice_are_no_conflict(
    full: Api, user: Any, address: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert full.register(address, **{"username": "first", **first}).status_code == 202

    assert full.register("other@example.com", **{"username": "second", **second}).status_code == 202


@member
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize(("first", "second", "fields"), CONFLICTS)
def test_a_value_that_a_user_has_is_taken_for_new_and_taken_addresses_alike(
    full: Api, make_user: Callable[..., Any], first: dict[str, Any], second: dict[str, Any], fields: set[str]
) -> None:
    make_user("holder@example.com", **{"username": "first", **first})
    make_user()

    answers = [full.register(address, **{"username": "second", **second}) for address in (EMAIL, FREE)]

    assert problem(answers[0]) == {(field, f"{field}_taken") for field in fields}
    assert answers[0].content == answers[1].content
    assert not ShadowRegistration.objects.exists()


@member
@pytest.mark.security("CRED-01", "VER-10")
@pytest.mark.parametrize("address", [EMAIL, FREE])
def test_a_registration_keeps_its_values_for_its_own_address_and_frees_them_when_it_is_replaced(
    full: Api, user: Any, address: str
) -> None:
    values = {"username": "ada", "handle": "Ada", "club": "chess", "number": 7}
    assert full.register(address, **values).status_code == 202
    assert full.register(address, **values).status_code == 202
    assert full.register(address, **{**values, "username": "lovelace", "handle": None, "number": 8}).status_code == 202

    assert full.register("other@example.com", **values).status_code == 202
    assert problem(full.register("third@example.com", username="lovelace")) == {("username", "username_taken")}


@member
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
@pytest.mark.parametrize(("first", "second", "fields"), CONFLICTS)
def test_a_profile_cannot_take_what_a_registration_holds_whosever_its_address_is(
    full: Api, make_user: Callable[..., Any], address: str, first: dict[str, Any], second: dict[str, Any], fields: Any
) -> None:
    make_user()
    make_user("mallory@example.com")
    token = full.pair("mallory@example.com")["access_token"]
    assert full.register(address, **{"username": "first", **first}).status_code == 202

    answer = full.patch("me", second, token=token)

    assert problem(answer) == {(field, f"{field}_taken") for field in fields}
    assert full.patch("me", {"handle": "mallory", "club": "go"}, token=token).status_code == 200


@member
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
def test_a_change_that_makes_a_condition_true_is_a_conflict_as_well(
    full: Api, make_user: Callable[..., Any], address: str
) -> None:
    make_user()
    make_user("mallory@example.com", callsign="dl1abc")
    token = full.pair("mallory@example.com")["access_token"]
    assert full.register(address, username="first", callsign="dl1abc", is_on_air=True).status_code == 202

    assert problem(full.patch("me", {"is_on_air": True}, token=token)) == {("callsign", "callsign_taken")}
    assert full.patch("me", {"is_on_air": True, "callsign": "dl2abc"}, token=token).status_code == 200


@member
def test_a_profile_may_keep_its_own_values(full: Api, make_user: Callable[..., Any]) -> None:
    make_user(handle="Ada", club="chess", number=7)
    token = full.pair()["access_token"]

    body = {"handle": "ADA", "club": "chess", "number": 7}
    assert full.patch("me", body, token=token).json()["handle"] == "ADA"


@member
def test_me_shows_the_public_fields_by_default(full: Api, make_user: Callable[..., Any]) -> None:
    make_user(username="ada", handle="Ada", club="chess", callsign="dl1abc")

    me = full.get("me", token=full.pair()["access_token"]).json()

    assert {name: me[name] for name in ("username", "handle", "club", "number", "callsign")} == {
        "username": "ada",
        "handle": "Ada",
        "club": "chess",
        "number": None,
        "callsign": "dl1abc",
    }
    assert "is_on_air" not in me
    component = full.get("openapi.json").json()["components"]["schemas"]["UserOut"]
    assert {"username", "handle"} <= set(component["required"])


@member
def test_the_project_of_most_custom_user_models_works_from_registration_to_me(api: Api) -> None:
    assert ids() == []
    for name in ("ada", "bob", "eve"):
        assert api.register(f"{name}@example.com", username=name).status_code == 202
        assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200

    me = api.get("me", token=api.pair("bob@example.com")["access_token"]).json()

    assert (me["username"], me["email"]) == ("bob", "bob@example.com")
    assert api.post("login", {"username": "bob", "password": PASSWORD}).status_code == 401  # not what they log in with


@pytest.fixture
def competitor() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Return a function that lets another writer, such as the admin, store a user just before a registration."""
    receivers: list[Any] = []

    def compete(values: dict[str, Any]) -> None:
        def insert(sender: Any, instance: Any, **_: Any) -> None:
            pre_save.disconnect(insert, sender=get_user_model())
            sender.objects.create(email="admin-made@example.com", **values)

        receivers.append(insert)
        pre_save.connect(insert, sender=get_user_model(), weak=False)

    yield compete
    for receiver in receivers:
        pre_save.disconnect(receiver, sender=get_user_model())


@member
@pytest.mark.parametrize(("first", "second", "fields"), CONFLICTS[:6])
def test_a_value_that_another_writer_takes_at_the_last_moment_is_named_and_no_server_error(
    full: Api, competitor: Callable[[dict[str, Any]], None], first: dict[str, Any], second: dict[str, Any], fields: Any
) -> None:
    competitor({"username": "first", **first})

    answer = full.register(**{"username": "second", **second})

    assert problem(answer) == {(field, f"{field}_taken") for field in fields}


@member
@pytest.mark.race
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
def test_of_two_registrations_with_one_value_at_once_one_is_told_whosever_the_address_is(
    servers: Callable[..., Server], user: Any, address: str
) -> None:
    server = servers(
        environment={"TEST_HASHER": "django.contrib.auth.hashers.PBKDF2PasswordHasher"},
        REGISTRATION_SCHEMA=SCHEMAS + "FullMemberRegistration",
    )
    for number, (first, second, _) in enumerate(CONFLICTS):
        mine = {"email": f"mine{number}@example.com", "password": PASSWORD, "username": f"mine{number}", **first}
        probe = {"email": address, "password": PASSWORD, "username": f"probe{number}", **second}

        answers = server.race(("POST", "/api/auth/register", mine), ("POST", "/api/auth/register", probe))

        assert sorted(status for status, _ in answers) == [202, 422], number


@member
@pytest.mark.race
def test_two_registrations_that_want_two_values_of_each_other_do_not_deadlock(servers: Callable[..., Server]) -> None:
    server = servers(REGISTRATION_SCHEMA=SCHEMAS + "FullMemberRegistration")
    for number in range(6):
        bodies = [
            {"username": f"a{number}", "handle": f"b{number}"},
            {"username": f"b{number}", "handle": f"a{number}"},
            {"username": f"a{number}", "handle": f"a{number}"},
        ]
        requests = [
            ("POST", "/api/auth/register", {"email": f"{mine}{number}@example.com", "password": PASSWORD, **body})
            for mine, body in enumerate(bodies)
        ]

        statuses = [status for status, _ in server.race(*requests)]

        assert set(statuses) <= {202, 422}
        assert 202 in statuses


# Other ways to make a field unique, on every user model that has a first name


FIRST_NAME = SCHEMAS + "Registration"
NAMES = itertools.count()
COLLATION = (
    "CREATE COLLATION IF NOT EXISTS host_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


@pytest.fixture
def unique_first_name(host_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Api]]:
    """Return a function that makes the first name unique in the database and in the user model."""
    model = get_user_model()
    table, undo = model._meta.db_table, []

    def build(*statements: str, constraint: models.BaseConstraint | None = None, collation: str | None = None) -> Api:
        undo.append("DROP INDEX IF EXISTS host_first_name")
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(table=table))
        if constraint is not None:
            monkeypatch.setattr(model._meta, "constraints", [*model._meta.constraints, constraint])
        if collation is not None:
            undo.append(f'ALTER TABLE {table} ALTER COLUMN first_name TYPE varchar(150) COLLATE "default"')
            monkeypatch.setattr(model._meta.get_field("first_name"), "db_collation", collation)
        return host_api(REGISTRATION_SCHEMA=FIRST_NAME)

    yield build
    with connection.cursor() as cursor:
        for statement in undo:
            cursor.execute(statement)


def name_conflicts(api: Api, address: str, first: str, second: str) -> Any:
    assert api.register(address, first_name=first, username=f"name{next(NAMES)}").status_code == 202
    return api.register("other@example.com", first_name=second, username=f"name{next(NAMES)}")


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
def test_a_collation_that_ignores_case_decides_what_is_taken(
    unique_first_name: Callable[..., Api], user: Any, address: str
) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(COLLATION)
    except NotSupportedError:
        pytest.skip("this PostgreSQL is built without ICU, which collations that ignore case need")
    api = unique_first_name(
        "ALTER TABLE {table} ALTER COLUMN first_name TYPE varchar(150) COLLATE host_ci",
        "CREATE UNIQUE INDEX host_first_name ON {table} (first_name) WHERE first_name <> ''",
        constraint=models.UniqueConstraint(
            fields=["first_name"], name="host_first_name", condition=~models.Q(first_name="")
        ),
        collation="host_ci",
    )

    assert problem(name_conflicts(api, address, "Renée", "rENÉE")) == {("first_name", "first_name_taken")}
    assert name_conflicts(api, address, "Renée", "Renee").status_code == 202


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", [EMAIL, FREE])
def test_an_expression_over_two_fields_decides_what_is_taken(
    unique_first_name: Callable[..., Api], user: Any, address: str
) -> None:
    api = unique_first_name(
        "CREATE UNIQUE INDEX host_first_name ON {table} (lower(first_name), last_name) WHERE first_name <> ''",
        constraint=models.UniqueConstraint(
            Lower("first_name").desc(), "last_name", name="host_first_name", condition=~models.Q(first_name="")
        ),
    )

    answer = name_conflicts(api, address, "Ada", "ADA")

    assert problem(answer) == {("first_name", "first_name_taken"), ("last_name", "last_name_taken")}
    assert api.register("other@example.com", first_name="ADA", last_name="King", username="x").status_code == 202


@pytest.mark.security("CRED-01")
def test_an_index_that_the_user_model_does_not_know_is_an_input_error_too(
    unique_first_name: Callable[..., Api],
) -> None:
    api = unique_first_name("CREATE UNIQUE INDEX host_first_name ON {table} (first_name)")

    assert problem(name_conflicts(api, FREE, "Ada", "Ada")) == {("first_name", "first_name_taken")}


@pytest.mark.security("CRED-01")
@pytest.mark.usefixtures("audited")
def test_as_many_statements_decide_about_a_conflict_whoever_has_the_address(
    unique_first_name: Callable[..., Api], make_user: Callable[..., Any]
) -> None:
    api = unique_first_name(constraint=models.UniqueConstraint(Lower("first_name"), name="host_first_name"))
    make_user("taken@example.com")
    make_user("pending@example.com", verified=False)
    make_user("holder@example.com", first_name="Ada")
    counts = []
    for address in (FREE, "taken@example.com", "pending@example.com"):
        with CaptureQueriesContext(connection) as queries:
            assert api.register(address, first_name="ADA", username="newcomer").status_code == 422
        counts.append(len(queries))

    assert len(set(counts)) == 1
    assert event_names() == ["user.registration_failed"] * 3


def test_a_registration_without_unique_fields_locks_and_asks_nothing_about_them(api: Api) -> None:
    if get_user_model()._meta.label != "host_app.User":
        pytest.skip("these users have a unique username")

    with CaptureQueriesContext(connection) as queries:
        api.register()
    statements = " ".join(query["sql"] for query in queries)

    assert "INSERT" in statements
    assert "pg_advisory_xact_lock" not in statements
    assert "hash_record" not in statements
