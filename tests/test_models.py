"""The constraints that the database enforces, independent of the code that writes to it."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import IntegrityError, connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ninja_auth_kit.models import BlacklistedToken, EmailAddress, OneTimeToken, ShadowRegistration, UserSession
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.user_constraints import add_user_constraints
from ninja_auth_kit.tokens import password_fingerprint, refresh_token_digest
from tests.conftest import EMAIL, Api

pytestmark = pytest.mark.django_db(transaction=True)
DIGEST = refresh_token_digest("x", user_id=7)


def session(user: Any, **fields: Any) -> UserSession:
    later = timezone.now() + timedelta(days=1)
    values = {"slot": 0, "refresh_token": DIGEST, "auth_hash": password_fingerprint("x")}
    return UserSession(user=user, refresh_expires_at=later, expires_at=later, **{**values, **fields})


def by_sql(statement: str) -> None:
    """Run a statement as an operator does, on the tables and columns as they are called."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


ENDS_BY_SQL = {
    "a documented end": (
        "UPDATE ninja_auth_kit_usersession SET is_active = FALSE, logout_time = now(), end_reason = 'revoked' "
        "WHERE is_active"
    ),
    "an expiry": "UPDATE ninja_auth_kit_usersession SET refresh_expires_at = now(), expires_at = now()",
    "the idle limit alone": "UPDATE ninja_auth_kit_usersession SET refresh_expires_at = now()",
    "a deletion": "DELETE FROM ninja_auth_kit_usersession",
    "a truncation": "TRUNCATE ninja_auth_kit_usersession",
}


@pytest.mark.one_django
@pytest.mark.security("SES-22")
@pytest.mark.parametrize("statement", ENDS_BY_SQL.values(), ids=ENDS_BY_SQL)
def test_an_operator_ends_sessions_by_sql(api: Api, user: Any, statement: str) -> None:
    pair = api.pair()

    by_sql(statement)

    assert api.get("me", token=pair["access_token"]).status_code == 401
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.login().status_code == 200


@pytest.mark.one_django
@pytest.mark.security("SES-22")
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE ninja_auth_kit_usersession SET expires_at = now()", "authkit_session_idle_before_absolute"),
        (
            "UPDATE ninja_auth_kit_usersession SET refresh_expires_at = now() + interval '1 year'",
            "authkit_session_idle_before_absolute",
        ),
        ("UPDATE ninja_auth_kit_usersession SET is_active = FALSE", "authkit_session_ended_has_time"),
    ],
)
def test_a_statement_that_would_end_no_session_is_refused(
    api: Api, user: Any, statement: str, constraint: str
) -> None:
    pair = api.pair()

    with pytest.raises(IntegrityError, match=constraint):
        by_sql(statement)

    assert api.is_in(pair["access_token"])


@pytest.mark.one_django
@pytest.mark.security("SES-15", "SES-22")
@pytest.mark.parametrize("change", ["is_active = FALSE", "password = '!'"])
def test_an_operator_shuts_a_user_out_by_sql(api: Api, user: Any, change: str) -> None:
    pair = api.pair()

    by_sql(f'UPDATE "{get_user_model()._meta.db_table}" SET {change}')

    assert api.get("me", token=pair["access_token"]).status_code == 401
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.login().status_code == 401


@pytest.mark.one_django
@pytest.mark.security("SES-22")
def test_an_operator_withdraws_a_refresh_token_by_sql(api: Api, user: Any) -> None:
    pair = api.pair()

    by_sql(
        "INSERT INTO ninja_auth_kit_blacklistedtoken (token, blacklisted_at) "
        "SELECT refresh_token, now() FROM ninja_auth_kit_usersession WHERE is_active"
    )

    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401


@pytest.mark.security("SES-19")
@pytest.mark.parametrize("value", ["nakr_" + "x" * 70, "", "a" * 64, DIGEST + "\n", DIGEST.upper(), DIGEST[:-1]])
def test_no_column_for_a_digest_takes_a_token(user: Any, value: str) -> None:
    later = timezone.now() + timedelta(days=1)
    rows = [
        session(user, refresh_token=value),
        session(user, auth_hash=value[:100]),
        BlacklistedToken(token=value),
        OneTimeToken(purpose=Purpose.VERIFY_EMAIL, user=user, email=EMAIL, digest=value, expires_at=later),
    ]

    for row in rows:
        with pytest.raises(IntegrityError, match="digest"):
            row.save(force_insert=True)


def test_a_user_has_one_active_session_in_a_slot_and_any_number_of_ended_ones(user: Any) -> None:
    now = timezone.now()
    session(user).save()
    for _ in range(3):
        session(user, is_active=False, logout_time=now).save()
    session(user, slot=1).save()

    with pytest.raises(IntegrityError, match="authkit_one_active_session_per_slot"):
        session(user).save()


def test_without_a_slot_sessions_are_not_limited(user: Any) -> None:
    for _ in range(3):
        session(user, slot=None).save()

    assert UserSession.objects.filter(is_active=True).count() == 3


def test_an_ended_session_has_the_time_of_its_end_and_an_active_one_has_none(user: Any) -> None:
    with pytest.raises(IntegrityError, match="authkit_session_ended_has_time"):
        session(user, is_active=False).save()
    with pytest.raises(IntegrityError, match="authkit_session_ended_has_time"):
        session(user, logout_time=timezone.now()).save()


def test_one_address_belongs_to_one_user(make_user: Any) -> None:
    make_user()
    bob = make_user("bob@example.com")

    with pytest.raises(IntegrityError, match="authkit_email_canonical"):
        EmailAddress.objects.filter(user=bob).update(canonical=EMAIL)


@pytest.mark.security("SES-16")
def test_a_user_deleted_by_sql_leaves_nothing_behind(api: Api, user: Any) -> None:
    api.pair()
    later = timezone.now() + timedelta(days=1)
    OneTimeToken.objects.issue(purpose=Purpose.RESET_PASSWORD, user=user, email=EMAIL, expires_at=later)

    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {get_user_model()._meta.db_table}")

    assert [model.objects.count() for model in (UserSession, EmailAddress, OneTimeToken)] == [0, 0, 0]


def test_a_session_of_nobody_is_refused(user: Any) -> None:
    nobody = type(user)(pk=uuid.uuid4() if isinstance(user.pk, uuid.UUID) else 999_999)

    with pytest.raises(IntegrityError, match="authkit_usersession_user"):
        session(nobody).save()


def test_tokens_of_one_purpose_stay_valid_until_one_of_them_is_used(user: Any) -> None:
    later = timezone.now() + timedelta(days=1)
    issue, find, verify = OneTimeToken.objects.issue, OneTimeToken.objects.find, Purpose.VERIFY_EMAIL
    first, second, third = (issue(purpose=verify, user=user, email=EMAIL, expires_at=later) for _ in range(3))
    reset = issue(purpose=Purpose.RESET_PASSWORD, user=user, email=EMAIL, expires_at=later)
    rows = [find(purpose=verify, token=token) for token in (first, second, third)]
    assert all(rows)

    assert [OneTimeToken.objects.consume(row) for row in (rows[1], rows[1], rows[0])] == [True, False, False]

    assert [find(purpose=verify, token=token) for token in (first, second, third)] == [None] * 3
    assert find(purpose=Purpose.RESET_PASSWORD, token=first) is None
    assert find(purpose=Purpose.RESET_PASSWORD, token=reset) is not None


def test_the_number_of_live_tokens_is_bounded_and_each_is_one_statement(user: Any) -> None:
    now = timezone.now()
    tokens = []
    for number in range(12):
        with CaptureQueriesContext(connection) as queries:
            later = now + timedelta(hours=1, seconds=number)
            tokens.append(
                OneTimeToken.objects.issue(purpose=Purpose.RESET_PASSWORD, user=user, email=EMAIL, expires_at=later)
            )
        assert len(queries) == 1

    live = [OneTimeToken.objects.find(purpose=Purpose.RESET_PASSWORD, token=token) is not None for token in tokens]

    assert live == [False] * 7 + [True] * 5
    assert OneTimeToken.objects.count() == 5


def test_a_token_for_another_address_supersedes_those_for_the_former(user: Any) -> None:
    later = timezone.now() + timedelta(hours=1)

    def issue(email: str) -> str:
        return OneTimeToken.objects.issue(purpose=Purpose.CHANGE_EMAIL, user=user, email=email, expires_at=later)

    slip, first, second = issue("slip@example.com"), issue("right@example.com"), issue("Right@example.com")

    found = [OneTimeToken.objects.find(purpose=Purpose.CHANGE_EMAIL, token=token) for token in (slip, first, second)]
    assert [row is not None for row in found] == [False, True, True]


@pytest.mark.security("SES-09")
@pytest.mark.parametrize(
    "meanwhile",
    [
        {"is_active": False, "logout_time": timezone.now()},
        {"generation": 1},
        {"refresh_token": refresh_token_digest("y", user_id=7)},
        {"auth_hash": password_fingerprint("y")},
        {},
    ],
)
def test_a_session_that_is_not_as_it_was_read_is_not_rotated(user: Any, meanwhile: dict[str, Any]) -> None:
    session(user).save()
    read, now = UserSession.objects.get(), timezone.now()
    before = read.refresh_token
    UserSession.objects.update(**meanwhile) if meanwhile else BlacklistedToken.objects.create(token=DIGEST)

    rotated = UserSession.objects.rotate(
        read, token=refresh_token_digest("z", user_id=7), now=now, refresh_expires_at=now + timedelta(days=1)
    )

    assert not rotated
    assert (read.refresh_token, read.generation) == (before, 0)
    assert not UserSession.objects.filter(refresh_token=refresh_token_digest("z", user_id=7)).exists()


@pytest.mark.security("SES-14")
def test_a_new_hash_carries_over_the_live_sessions_of_the_old_one_and_no_others(user: Any, make_user: Any) -> None:
    bob, now = make_user("bob@example.com"), timezone.now()
    old, new = password_fingerprint("old"), password_fingerprint("new")
    live = session(user, auth_hash=old)
    others = [
        session(user, slot=1, auth_hash=password_fingerprint("older")),
        session(user, auth_hash=old, is_active=False, logout_time=now),
        session(bob, auth_hash=old),
    ]
    for row in (live, *others):
        row.save()

    assert UserSession.objects.update_auth_hash(user=user, old="old", new="new") == 1
    assert UserSession.objects.get(auth_hash=new) == live
    assert UserSession.objects.update_auth_hash(user=user, old="new", new="newer", only=others[0].pk) == 0
    assert UserSession.objects.update_auth_hash(user=user, old="new", new="newer", only=live.pk) == 1


def test_ending_sessions_needs_to_be_told_which() -> None:
    with pytest.raises(ValueError, match="needs ids, user_id, or both"):
        UserSession.objects.end(reason="logout")  # type: ignore[arg-type]


@pytest.mark.security("CFG-05")
def test_the_models_and_the_migrations_agree() -> None:
    call_command("makemigrations", "ninja_auth_kit", check=True, dry_run=True, verbosity=0)


def test_every_index_and_constraint_of_ours_has_a_name_that_says_what_it_is_for() -> None:
    names = [
        item.name
        for model in (UserSession, BlacklistedToken, EmailAddress, OneTimeToken)
        for item in (*model._meta.indexes, *model._meta.constraints)
    ]

    assert len(names) > 10
    assert all(name.startswith("authkit_") for name in names)
    assert not any(isinstance(field, models.Field) and field.db_index for field in UserSession._meta.concrete_fields)


def indexes_of_users() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, get_user_model()._meta.db_table))


def cascades() -> set[tuple[str, str]]:
    """Return the foreign keys to the user table and their action on deletion ("c": cascade)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, confdeltype FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s) "
            "AND conname LIKE 'authkit%%'",
            [f'"{get_user_model()._meta.db_table}"'],
        )
        return set(cursor.fetchall())


def test_foreign_keys_that_got_lost_are_there_again_after_the_next_migrate(
    user: Any, make_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Restore constraints that Django drops when the type of the users' key changes.

    Django has no model from which it could create them again.
    """
    bob, expected = make_user("bob@example.com"), cascades()
    assert len(expected) == 4
    with connection.cursor() as cursor:
        for model in (UserSession, EmailAddress, OneTimeToken, ShadowRegistration):
            name = f"authkit_{model._meta.model_name}_user"
            cursor.execute(f'ALTER TABLE "{model._meta.db_table}" DROP CONSTRAINT "{name}"')
    bob.delete()
    assert EmailAddress.objects.count() == 2

    call_command("migrate", verbosity=0)

    assert cascades() == expected
    assert [address.user for address in EmailAddress.objects.all()] == [user]
    assert [record.getMessage() for record in caplog.records if record.name == "ninja_auth_kit.models"] == [
        'Deleted 1 rows from "ninja_auth_kit_emailaddress" because their users do not exist any more.'
    ]


def test_where_no_user_can_be_seen_nothing_is_deleted(user: Any) -> None:
    """Delete no rows if no user is visible: the table may be wrong, or the role restricted."""
    table = get_user_model()._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE "ninja_auth_kit_emailaddress" DROP CONSTRAINT "authkit_emailaddress_user"')
        cursor.execute(f'DELETE FROM "{table}"')

    with pytest.raises(ImproperlyConfigured, match=r"There are no users, but .* has rows that belong to users"):
        add_user_constraints(using="default")

    assert EmailAddress.objects.count() == 1
    EmailAddress.objects.all().delete()
    add_user_constraints(using="default")
    assert len(cascades()) == 4


def test_users_whose_table_later_migrations_will_rename_are_tied_then(user: Any) -> None:
    expected, table = cascades(), get_user_model()._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE "ninja_auth_kit_emailaddress" DROP CONSTRAINT "authkit_emailaddress_user"')
        cursor.execute(f'ALTER TABLE "{table}" RENAME TO not_renamed_yet')
        add_user_constraints(using="default")
        cursor.execute(f'ALTER TABLE not_renamed_yet RENAME TO "{table}"')

    add_user_constraints(using="default")

    assert cascades() == expected


def test_users_who_get_an_address_after_the_kit_was_migrated_get_its_index_then() -> None:
    field = get_user_model()._meta.get_field("email")
    table = f'"{field.model._meta.db_table}"'
    with_the_kit = indexes_of_users()
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX authkit_user_by_address")
        cursor.execute(f"ALTER TABLE {table} RENAME email TO not_yet")
        add_user_constraints(using="default")
        assert "authkit_user_by_address" not in indexes_of_users()
        cursor.execute(f"ALTER TABLE {table} RENAME not_yet TO email")

    call_command("migrate", verbosity=0)

    assert indexes_of_users() == with_the_kit


def test_the_migration_can_be_taken_back_and_made_again() -> None:
    with_the_kit = indexes_of_users()
    call_command("migrate", "ninja_auth_kit", "zero", verbosity=0)
    assert "ninja_auth_kit_usersession" not in connection.introspection.table_names()
    assert with_the_kit - indexes_of_users() == {"authkit_user_by_address"}

    call_command("migrate", "ninja_auth_kit", verbosity=0)

    assert "ninja_auth_kit_usersession" in connection.introspection.table_names()
    assert indexes_of_users() == with_the_kit
