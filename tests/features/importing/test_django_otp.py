"""Authenticator apps of django-otp: they log in at the kit, and what cannot be imported is listed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ninja_auth_kit.contrib.factors import former_factors, kinds
from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import EmailAddress, SpentTicket
from tests.conftest import Api, events
from tests.features.conftest import answer, enrol, finish
from tests.features.importing.conftest import app_of, imported, imports, otp_device, reasons
from tests.features.passkeys.conftest import new_passkey, register

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]


def test_the_next_code_of_an_imported_app_logs_in_and_the_last_one_used_before_does_not(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    device = otp_device(user)
    app = app_of(device)
    assert device.verify_token(app.code())

    assert imports("django-otp") == "1 factor imported (1 totp).\n"

    assert answer(finish(api, pend(), app.code())) == (401, "invalid_factor")
    assert answer(finish(api, pend(), app.code(steps=-1))) == (401, "invalid_factor")
    clock.shift(30)
    assert finish(api, pend(), app.code()).json()["acr"] == "aal2"


def test_of_an_app_whose_last_code_is_not_known_no_code_of_the_present_counts(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    """django-two-factor-auth accepts the first code one step early or late, and stores no step."""
    app = app_of(otp_device(user))

    imports("django-otp")

    for steps in (-1, 0, 1):
        assert answer(finish(api, pend(), app.code(steps=steps))) == (401, "invalid_factor")
    clock.shift(60)
    assert finish(api, pend(), app.code()).status_code == 200


def test_the_times_and_the_name_of_the_device_are_kept(api: Api, user: Any, pend: Callable[..., str]) -> None:
    device = otp_device(user)
    assert device.verify_token(app_of(device).code())

    imports("django-otp")

    factor = Factor.objects.get()
    assert (factor.name, factor.created_at, factor.last_used_at) == (
        "my phone",
        device.created_at,
        device.last_used_at,
    )
    assert TotpSecret.objects.get().last_step == device.last_t
    assert device.key not in str(TotpSecret.objects.values_list("secret", flat=True)[0])


def test_a_dry_run_says_the_same_and_changes_nothing(
    user: Any, make_users: Callable[[int], list[Any]], audited: None
) -> None:
    for one in [user, *make_users(5)]:
        otp_device(one)
    otp_device(user, confirmed=False)
    before = len(events())

    said = imports("django-otp", "--dry-run")

    assert (Factor.objects.count(), SpentTicket.objects.count(), len(events())) == (0, 0, before)
    assert said.endswith("6 factors would be imported (6 totp).\n1 skipped, see above.\n")
    assert imports("django-otp") == said.replace("would be imported", "imported")


def test_a_second_run_adds_nothing(user: Any, audited: None) -> None:
    otp_device(user)
    imports("django-otp")
    before = len(events())

    assert imports("django-otp") == "0 factors imported.\n1 factor imported before.\n"
    assert imported("django-otp", "--dry-run") == {
        "imported": {},
        "dry_run": True,
        "skipped": {"known": {"count": 1, "listed": []}},
    }
    assert (Factor.objects.count(), len(events())) == (1, before)


def test_a_code_that_was_used_between_two_runs_does_not_count_again(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    device = otp_device(user)
    app = app_of(device)
    imports("django-otp")
    clock.shift(90)
    assert device.verify_token(app.code())

    imports("django-otp", "--dry-run")
    assert TotpSecret.objects.get().last_step < device.last_t
    imports("django-otp")

    assert answer(finish(api, pend(), app.code())) == (401, "invalid_factor")
    clock.shift(30)
    assert finish(api, pend(), app.code()).status_code == 200
    step = TotpSecret.objects.get().last_step
    imports("django-otp")
    assert TotpSecret.objects.get().last_step == step, "an older code of django-otp takes nothing back"


def test_of_two_devices_with_one_key_the_later_code_counts_as_used(
    api: Api, user: Any, pend: Callable[..., str]
) -> None:
    first = otp_device(user, last_t=5)
    second = otp_device(user, key=first.key)
    assert second.verify_token(app_of(second).code())

    imports("django-otp")

    assert TotpSecret.objects.get().last_step == second.last_t


def test_an_app_is_recognised_when_its_import_is_not_remembered_any_more(user: Any) -> None:
    otp_device(user)
    imports("django-otp")
    SpentTicket.objects.all().delete()

    assert imports("django-otp") == "0 factors imported.\n1 factor imported before.\n"


def test_another_run_does_not_bring_an_app_back_that_its_user_has_removed(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    device = otp_device(user)
    imports("django-otp")
    clock.shift(60)
    token = finish(api, pend(), app_of(device).code()).json()["access_token"]
    assert api.delete(f"factors/{Factor.objects.get().pk}", token=token).status_code == 204

    assert imports("django-otp") == "0 factors imported.\n1 factor imported before.\n"

    assert Factor.objects.count() == 0


def test_the_first_factor_ends_all_sessions_and_pending_logins_and_no_email_is_sent(
    api: Api, user: Any, audited: None
) -> None:
    token = api.pair()["access_token"]
    otp_device(user)
    mail.outbox.clear()

    imports("django-otp")

    assert not api.is_in(token)
    assert api.login().status_code == 202
    assert mail.outbox == []
    added = next(event for event in events() if event["type"] == "ninja-auth-kit.factor.added.v1")
    assert (added["authtype"], added["subject"]) == ("system", f"user/{user.pk}")
    assert added["data"]["details"] == {"factor_id": str(Factor.objects.get().pk), "kind": "totp"}
    revoked = next(event for event in events() if event["type"] == "ninja-auth-kit.session.revoked.v1")
    assert revoked["authtype"] == "system"


def test_the_first_factor_that_is_asked_for_ends_all_sessions_too(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(PASSKEYS={"GUARDS_PASSWORD": False}, SESSION_LIMIT=None)
    assert register(api, api.pair()["access_token"], new_passkey()).status_code == 201
    token = api.pair()["access_token"]  # of the password alone
    otp_device(user)

    imports("django-otp")

    assert not api.is_in(token)
    assert api.login().status_code == 202


def test_a_later_factor_keeps_the_sessions_and_voids_pending_logins(
    api: Api, user: Any, pend: Callable[..., str]
) -> None:
    app, confirmed = enrol(api, api.pair()["access_token"])
    token = confirmed.json()["tokens"]["access_token"]
    challenge = pend()
    otp_device(user)

    imports("django-otp")

    assert api.is_in(token)
    assert answer(finish(api, challenge, app.code())) == (401, "invalid_challenge")
    assert RecoveryCode.objects.count() == 10


def test_a_user_has_no_recovery_codes_and_makes_them_after_a_login(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    from django_otp.plugins.otp_static.models import StaticDevice

    device = otp_device(user)
    static = StaticDevice.objects.create(user=user)
    static.token_set.create(token=static.token_set.model.random_token())

    assert imports("django-otp") == "1 factor imported (1 totp).\n"

    clock.shift(60)
    token = finish(api, pend(), app_of(device).code()).json()["access_token"]
    listed = api.get("factors", token=token).json()
    assert (len(listed["factors"]), listed["recovery_codes_left"]) == (1, 0)
    codes = api.post("factors/recovery-codes", token=token).json()["codes"]
    assert len(codes) == 10
    assert api.get("factors", token=token).json()["recovery_codes_left"] == 10


# What is wrong with a device, and the reason that is listed.
WRONG = [
    ({"confirmed": False}, "unconfirmed"),
    ({"digits": 8}, "other_codes"),
    ({"step": 60}, "other_codes"),
    ({"step": 0}, "other_codes"),
    ({"t0": 1}, "other_codes"),
    ({"key": "aa" * 13}, "weak_secret"),
    ({"key": ""}, "weak_secret"),
    ({"key": "abc"}, "unreadable"),
    ({"key": "a key of 32 letters which is no hex"}, "unreadable"),
    ({"key": "ä" * 40}, "unreadable"),
    ({"drift": 2}, "clock"),
    ({"drift": -2}, "clock"),
    ({"last_t": 2**62}, "clock"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_a_device_that_the_kit_cannot_take_is_listed_with_the_reason_and_the_others_are_imported(
    make_users: Callable[[int], list[Any]], fields: dict[str, Any], reason: str
) -> None:
    one, other = make_users(2)
    wrong = otp_device(one, **fields)
    otp_device(other)

    said = imports("django-otp", "--dry-run")

    assert f"skipped user {one.pk}, otp_totp.totpdevice {wrong.pk}: {former_factors.Outcome(reason).label}" in said
    assert len(wrong.key) < 4 or wrong.key not in said
    assert imported("django-otp") == {
        "imported": {"totp": 1},
        "dry_run": False,
        "skipped": {
            reason: {
                "count": 1,
                "listed": [
                    {"user": str(one.pk), "factor": f"otp_totp.totpdevice {wrong.pk}"}
                    | ({"error": "Error"} if reason == "unreadable" else {})
                ],
            }
        },
    }
    assert [factor.user_id for factor in Factor.objects.all()] == [other.pk]


@pytest.mark.parametrize(
    "fields", [{"key": "AB" * 14}, {"key": "ab" * 40}, {"drift": 1}, {"drift": -1}, {"last_t": -7}]
)
def test_a_device_at_the_edge_of_what_the_kit_takes_is_imported(
    api: Api, user: Any, pend: Callable[..., str], clock: Any, fields: dict[str, Any]
) -> None:
    device = otp_device(user, **fields)

    assert imported("django-otp")["imported"] == {"totp": 1}

    clock.shift(60)
    assert finish(api, pend(), app_of(device).code()).status_code == 200


def test_a_time_that_python_cannot_represent_is_listed_and_does_not_stop_the_run(
    make_users: Callable[[int], list[Any]],
) -> None:
    devices = [otp_device(user) for user in make_users(3)]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE otp_totp_totpdevice SET created_at = 'infinity' WHERE id = %s", [devices[1].pk])

    assert reasons("django-otp") == {"unreadable": [str(devices[1].pk)]}
    assert Factor.objects.count() == 2


def test_users_who_are_disabled_pending_or_gone_are_listed(
    user: Any, make_users: Callable[[int], list[Any]], make_user: Callable[..., Any]
) -> None:
    disabled, gone = make_users(2)
    pending = make_user("pending@example.com", verified=False)
    devices = {one.pk: str(otp_device(one).pk) for one in (user, disabled, gone, pending)}
    get_user_model().objects.filter(pk=disabled.pk).update(is_active=False)
    with connection.cursor() as cursor:  # as in a database without the foreign key
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"DELETE FROM {get_user_model()._meta.db_table} WHERE id = %s", [gone.pk])
        cursor.execute("SET session_replication_role = DEFAULT")

    assert reasons("django-otp") == {
        "disabled": [devices[disabled.pk]],
        "no_user": [devices[gone.pk]],
        "pending": [devices[pending.pk]],
    }
    assert reasons("django-otp", "--include-disabled") == {
        "no_user": [devices[gone.pk]],
        "pending": [devices[pending.pk]],
        "known": [],
    }
    assert {factor.user_id for factor in Factor.objects.all()} == {user.pk, disabled.pk}
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM otp_totp_totpdevice WHERE user_id = %s", [gone.pk])


def test_a_user_from_before_the_kit_has_the_factor_before_the_address_is_verified(user: Any) -> None:
    EmailAddress.objects.all().delete()
    otp_device(user)

    assert imported("django-otp")["imported"] == {"totp": 1}


def test_no_user_gets_more_apps_than_the_limit(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(TOTP={"LIMIT": 2})
    enrol(api, api.pair()["access_token"])
    devices = [otp_device(user) for _ in range(3)]

    assert reasons("django-otp", "--dry-run") == {"limit": [str(one.pk) for one in devices[1:]]}
    assert reasons("django-otp") == {"limit": [str(one.pk) for one in devices[1:]]}
    assert Factor.objects.filter(confirmed_at__isnull=False).count() == 2


def test_two_devices_with_one_key_are_one_app(user: Any) -> None:
    first = otp_device(user)
    otp_device(user, key=first.key)

    assert imports("django-otp") == "1 factor imported (1 totp).\n1 factor imported before.\n"


def test_two_users_with_one_key_each_have_an_app(make_users: Callable[[int], list[Any]]) -> None:
    for user in make_users(2):
        otp_device(user, key="ab" * 20)

    assert imported("django-otp")["imported"] == {"totp": 2}


def test_devices_of_other_kinds_are_listed_and_recovery_codes_only_if_there_is_no_other_factor(
    make_users: Callable[[int], list[Any]],
) -> None:
    from django_otp.plugins.otp_hotp.models import HOTPDevice
    from django_otp.plugins.otp_static.models import StaticDevice

    by_counter, by_codes, with_both, without_codes = make_users(4)
    hotp = HOTPDevice.objects.create(user=by_counter, name="token")
    HOTPDevice.objects.create(user=without_codes, name="token", confirmed=False)
    otp_device(with_both)
    static = {
        one.pk: StaticDevice.objects.create(user=one) for one in (by_counter, by_codes, with_both, without_codes)
    }
    for key in (by_counter.pk, by_codes.pk, with_both.pk):
        static[key].token_set.create(token="abcdefgh")
        static[key].token_set.create(token="ijklmnop")

    found = imported("django-otp")

    assert found["imported"] == {"totp": 1}
    assert found["skipped"] == {
        "other_kind": {
            "count": 1,
            "listed": [{"user": str(by_counter.pk), "factor": f"otp_hotp.hotpdevice {hotp.pk}"}],
        },
        "only_codes": {
            "count": 1,
            "listed": [{"user": str(by_codes.pk), "factor": f"otp_static.staticdevice {static[by_codes.pk].pk}"}],
        },
    }


def test_without_the_app_for_the_kind_every_factor_is_listed(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = otp_device(user)
    monkeypatch.delitem(kinds._kinds, "totp")

    assert reasons("django-otp") == {"not_installed": [str(device.pk)]}


def test_users_are_read_in_batches_and_the_statements_do_not_grow_with_the_users_of_one(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = make_users(12)
    for user in users:
        otp_device(user)
        otp_device(user)

    def statements(batch: int) -> int:
        monkeypatch.setattr(former_factors, "BATCH", batch)
        with CaptureQueriesContext(connection) as captured:
            assert imported("django-otp", "--dry-run")["imported"] == {"totp": 24}
        return len(captured)

    in_one, in_four = statements(100), statements(3)
    assert in_one < 20
    assert in_one < in_four <= 4 * in_one
    monkeypatch.setattr(former_factors, "BATCH", 5)
    assert imported("django-otp")["imported"] == {"totp": 24}


def test_progress_is_on_the_error_output(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ninja_auth_kit.management import import_report

    monkeypatch.setattr(import_report, "PROGRESS_EVERY", 2)
    for user in make_users(5):
        otp_device(user)

    json.loads(imports("django-otp", "--json"))

    assert capsys.readouterr().err.splitlines() == ["2 factors so far", "4 factors so far"]


def test_a_run_that_is_stopped_leaves_whole_batches_and_another_one_does_the_rest(
    make_users: Callable[[int], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ninja_auth_kit.contrib.factors.importing import import_factors

    monkeypatch.setattr(former_factors, "BATCH", 2)
    for user in make_users(5):
        otp_device(user)
    run = import_factors(former_factors.SOURCES["django-otp"])
    next(run)
    run.close()
    assert Factor.objects.count() == 2

    assert imported("django-otp")["imported"] == {"totp": 3}
