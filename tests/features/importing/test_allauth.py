"""Authenticator apps and passkeys of allauth.mfa: they log in at the kit, and what cannot be imported is listed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.models import JSONField, Value
from pytest_django import Settings

from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.passkeys.models import Passkey, PasskeyHandle
from ninja_auth_kit.contrib.passkeys.testing import EDDSA, ES256, RS256, FakePasskey
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import SpentTicket
from tests.conftest import Api
from tests.features.conftest import answer, finish
from tests.features.importing.conftest import (
    allauth_passkey,
    allauth_totp,
    app_of,
    authenticators,
    imported,
    imports,
    is_accepted_by_allauth,
    otp_device,
    reasons,
)
from tests.features.passkeys.conftest import begin, login, new_passkey, refusal, register
from tests.features.passkeys.conftest import finish as finish_by_passkey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]


@pytest.fixture
def adapter(settings: Settings) -> Callable[[str], None]:
    """Return a function that sets MFA_ADAPTER."""
    return lambda name: setattr(settings, "MFA_ADAPTER", f"tests.features.importing.adapters.{name}")


# Authenticator apps


def test_no_code_that_allauth_may_have_accepted_counts_again_and_the_next_one_logs_in(
    api: Api, user: Any, pend: Callable[..., str], clock: Any
) -> None:
    app = allauth_totp(user)
    assert is_accepted_by_allauth(app.code())

    assert imports("allauth") == "1 factor imported (1 totp).\n"

    assert answer(finish(api, pend(), app.code())) == (401, "invalid_factor")
    assert answer(finish(api, pend(), app.code(steps=-1))) == (401, "invalid_factor")
    clock.shift(30)
    assert finish(api, pend(), app.code()).json()["acr"] == "aal2"


def test_a_code_that_the_tolerance_of_allauth_allows_does_not_count_again(
    api: Api, user: Any, pend: Callable[..., str], clock: Any, settings: Settings
) -> None:
    settings.MFA_TOTP_TOLERANCE = 1
    app = allauth_totp(user)
    code = app.code(steps=1)
    assert is_accepted_by_allauth(code)

    imports("allauth")

    clock.shift(30)
    assert answer(finish(api, pend(), code)) == (401, "invalid_factor")
    clock.shift(30)
    assert finish(api, pend(), app.code()).status_code == 200


def test_a_secret_is_decrypted_by_the_adapter_of_the_project(
    api: Api, user: Any, pend: Callable[..., str], clock: Any, adapter: Callable[..., None]
) -> None:
    adapter("Encrypting")
    app = allauth_totp(user)
    assert app.secret not in authenticators().get(type="totp").data["secret"]

    assert imported("allauth")["imported"] == {"totp": 1}

    clock.shift(30)
    assert finish(api, pend(), app.code()).status_code == 200


def test_an_adapter_that_fails_is_named_by_its_error_without_the_text(user: Any, adapter: Callable[..., None]) -> None:
    app = allauth_totp(user)
    passkey = allauth_passkey(user)
    adapter("Broken")

    said = imports("allauth")

    assert said.count("its data cannot be read (RuntimeError)\n") == 1
    assert said.count("its data cannot be read (TypeError)\n") == 1
    assert app.secret not in said
    assert passkey.credential_id.hex() not in said
    assert Factor.objects.count() == 0


@pytest.mark.parametrize("name", ["MFA_TOTP_DIGITS", "MFA_TOTP_PERIOD"])
def test_codes_of_another_length_or_period_are_listed(user: Any, settings: Settings, name: str) -> None:
    setattr(settings, name, 8)
    allauth_totp(user)

    assert list(reasons("allauth")) == ["other_codes"]


def test_an_app_that_is_known_to_both_packages_is_imported_once(user: Any, settings: Settings) -> None:
    device = otp_device(user)
    allauth_totp(user, app_of(device).secret)

    assert imported("django-otp")["imported"] == {"totp": 1}
    assert imports("allauth") == "0 factors imported.\n1 factor imported before.\n"


# Passkeys


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
def test_a_passkey_of_a_login_without_a_password_logs_in_alone(api: Api, user: Any, algorithm: int) -> None:
    from allauth.account.utils import user_pk_to_url_str

    passkey = allauth_passkey(user, algorithm=algorithm)

    assert imports("allauth") == "1 factor imported (1 passkey).\n"

    assert login(api, passkey).json()["acr"] == "aal2"
    assert passkey.user_handle == user_pk_to_url_str(user).encode()
    assert login(api, passkey).status_code == 200


def test_a_security_key_completes_a_login_and_names_no_user(api: Api, user: Any, pend: Callable[..., str]) -> None:
    passkey = allauth_passkey(user, passwordless=False, transports=("usb", "nfc"))

    imports("allauth")

    challenge = pend()
    (described,) = begin(api, challenge)["public_key"]["allowCredentials"]
    assert described["transports"] == ["usb", "nfc"]
    assert login(api, passkey, challenge).json()["acr"] == "aal2"


def test_the_row_has_what_allauth_knows(user: Any) -> None:
    passkey = allauth_passkey(user, sign_count=7, backup_eligible=True, backed_up=True, transports=("hybrid",))
    former = authenticators().get()

    imports("allauth")

    row = Passkey.objects.select_related("factor").get()
    assert (row.factor.name, row.factor.created_at) == ("my laptop", former.created_at)
    assert (row.sign_count, row.backup_eligible, row.backed_up) == (7, True, True)
    assert (row.transports, row.discoverable, row.aaguid) == ("hybrid", True, passkey.aaguid)
    assert bytes(row.user_handle or b"") == passkey.user_handle
    assert row.is_sealed_for(user.pk)


def test_the_counter_and_the_backup_flag_of_the_registration_are_compared(api: Api, user: Any) -> None:
    passkey = allauth_passkey(user, sign_count=7)
    imports("allauth")

    passkey.sign_count = 5
    assert refusal(login(api, passkey)) == (401, "invalid_factor")
    passkey.sign_count, passkey.backup_eligible = 20, True
    assert refusal(login(api, passkey)) == (401, "invalid_factor")
    passkey.backup_eligible = False
    assert login(api, passkey).status_code == 200


def test_a_user_has_imported_and_new_passkeys_each_with_its_own_handle(api: Api, user: Any) -> None:
    former, new = allauth_passkey(user), new_passkey()
    before = new_passkey()
    assert register(api, api.pair()["access_token"], before).status_code == 201
    imports("allauth")
    token = login(api, former).json()["access_token"]

    assert register(api, token, new).status_code == 201

    assert len(new.user_handle) == 32
    assert new.user_handle == before.user_handle == bytes(PasskeyHandle.objects.get().handle) != former.user_handle
    for passkey in (former, before, new):
        assert login(api, passkey).status_code == 200
    former.user_handle, new.user_handle = new.user_handle, former.user_handle
    for passkey in (former, new):
        assert refusal(login(api, passkey)) == (401, "invalid_factor")


def test_the_handle_is_what_the_adapter_of_the_project_says(api: Api, user: Any, adapter: Callable[..., None]) -> None:
    adapter("OwnHandles")
    passkey = allauth_passkey(user)
    assert passkey.user_handle == b"\x00own handle"

    imports("allauth")

    assert login(api, passkey).status_code == 200


def test_a_passkey_is_moved_to_no_other_user_by_its_imported_row(
    api: Api, user: Any, make_user: Callable[..., Any]
) -> None:
    other = make_user("other@example.com")
    passkey = allauth_passkey(user)
    imports("allauth")

    Factor.objects.update(user=other)

    assert refusal(login(api, passkey)) == (401, "invalid_factor")


def test_a_passkey_of_another_domain_is_listed(user: Any, kit: Callable[..., None]) -> None:
    allauth_passkey(user)
    kit(PASSKEYS={"RP_ID": "example.com", "ORIGINS": ["https://example.com"]})

    assert list(reasons("allauth", "--dry-run")) == list(reasons("allauth")) == ["other_domain"]


def test_a_credential_that_another_user_has_is_listed_and_that_of_the_user_is_known(
    api: Api, user: Any, make_user: Callable[..., Any]
) -> None:
    passkey = allauth_passkey(user)
    credential = authenticators().get()
    other = authenticators().create(user=make_user("other@example.com"), type="webauthn", data=credential.data)

    assert reasons("allauth", "--dry-run") == {"registered": [str(other.pk)]}
    assert reasons("allauth") == {"registered": [str(other.pk)]}
    SpentTicket.objects.all().delete()
    assert reasons("allauth") == {"registered": [str(other.pk)], "known": []}
    assert login(api, passkey).status_code == 200


def test_no_user_gets_more_passkeys_than_the_limit(user: Any, kit: Callable[..., None]) -> None:
    kit(PASSKEYS={"LIMIT": 2})
    for _ in range(3):
        allauth_passkey(user)

    assert list(reasons("allauth")) == ["limit"]
    assert Passkey.objects.count() == 2


def test_a_passkey_and_an_app_of_one_user_are_imported_together(user: Any) -> None:
    allauth_totp(user)
    allauth_passkey(user)

    assert imports("allauth") == "2 factors imported (1 passkey, 1 totp).\n"
    assert (TotpSecret.objects.count(), Passkey.objects.count()) == (1, 1)


# Data that allauth has not written

SECRETS: list[tuple[Any, str]] = [
    (Value(None, JSONField()), "unreadable"),
    ([], "unreadable"),
    ("text", "unreadable"),
    (17, "unreadable"),
    ({}, "unreadable"),
    ({"secret": None}, "unreadable"),
    ({"secret": 17}, "unreadable"),
    ({"secret": ""}, "weak_secret"),
    ({"secret": "ABC"}, "unreadable"),
    ({"secret": "no Base32!"}, "unreadable"),
    ({"secret": "ä" * 32}, "unreadable"),
    ({"secret": "JBSWY3DP"}, "weak_secret"),
    ({"secret": "A" * 800}, "unreadable"),
]


@pytest.mark.parametrize(("data", "reason"), SECRETS)
def test_an_app_whose_data_is_wrong_is_listed_and_the_others_are_imported(
    make_users: Callable[[int], list[Any]], data: Any, reason: str
) -> None:
    one, other = make_users(2)
    wrong = authenticators().create(user=one, type="totp", data=data)
    allauth_totp(other)

    assert reasons("allauth") == {reason: [str(wrong.pk)]}
    assert [factor.user_id for factor in Factor.objects.all()] == [other.pk]


def damage(data: dict[str, Any], what: str) -> Any:
    """Return the data of a passkey with one thing wrong."""
    damaged = copy.deepcopy(data)
    response = damaged["credential"]["response"]
    changes: dict[str, Callable[[], Any]] = {
        "no credential": lambda: damaged.pop("credential"),
        "a list": lambda: damaged.update(credential=[]),
        "no response": lambda: damaged["credential"].pop("response"),
        "response is text": lambda: damaged["credential"].update(response="x"),
        "no attestation": lambda: response.pop("attestationObject"),
        "attestation is null": lambda: response.update(attestationObject=None),
        "attestation is no base64url": lambda: response.update(attestationObject="!!"),
        "attestation is cut": lambda: response.update(attestationObject=response["attestationObject"][:-40]),
        "attestation is an integer": lambda: response.update(attestationObject="AQ"),
        "extensions are a list": lambda: damaged["credential"].update(clientExtensionResults=[]),
        "no client data": lambda: response.pop("clientDataJSON"),
    }
    changes[what]()
    return damaged


@pytest.mark.parametrize(
    "what",
    [
        "no credential",
        "a list",
        "no response",
        "response is text",
        "no attestation",
        "attestation is null",
        "attestation is no base64url",
        "attestation is cut",
        "attestation is an integer",
        "extensions are a list",
        "no client data",
    ],
)
def test_a_passkey_whose_data_is_wrong_is_listed_and_the_others_are_imported(
    make_users: Callable[[int], list[Any]], what: str
) -> None:
    one, other = make_users(2)
    allauth_passkey(one)
    wrong = authenticators().get()
    wrong.data = damage(wrong.data, what)
    wrong.save()
    allauth_passkey(other)

    assert reasons("allauth") == {"unreadable": [str(wrong.pk)]}
    assert [factor.user_id for factor in Factor.objects.all()] == [other.pk]


@pytest.mark.parametrize(
    ("members", "transports", "discoverable"),
    [
        ({"transports": "usb"}, "", True),
        ({"transports": [1, "usb", None, "U" * 100]}, "usb", True),
        ({"name": 17}, "internal", True),
        ({"name": "x" * 300}, "internal", True),
        ({"extensions": {}}, "internal", None),
        ({"extensions": {"credProps": {"rk": "yes"}}}, "internal", None),
    ],
)
def test_what_a_browser_has_said_beside_the_key_may_be_wrong(
    api: Api, user: Any, members: dict[str, Any], transports: str, discoverable: bool | None
) -> None:
    passkey = allauth_passkey(user)
    row = authenticators().get()
    if "transports" in members:
        row.data["credential"]["response"]["transports"] = members["transports"]
    if "name" in members:
        row.data["name"] = members["name"]
    if "extensions" in members:
        row.data["credential"]["clientExtensionResults"] = members["extensions"]
    row.save()

    assert imported("allauth")["imported"] == {"passkey": 1}

    found = Passkey.objects.get()
    assert (found.transports, found.discoverable) == (transports, discoverable)
    assert login(api, passkey).status_code == 200


def test_a_key_that_the_kit_does_not_offer_is_listed(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On P-384, which allauth offers."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from ninja_auth_kit.contrib.passkeys import testing

    def cose(key: Any) -> bytes:
        numbers = key.public_numbers()
        return testing._cbor({1: 2, 3: -35, -1: 2, -2: numbers.x.to_bytes(48), -3: numbers.y.to_bytes(48)})

    monkeypatch.setattr(testing, "_new_key", lambda _: ec.generate_private_key(ec.SECP384R1()))
    monkeypatch.setattr(testing, "_cose_key", cose)
    allauth_passkey(user, algorithm=-35)

    assert list(reasons("allauth")) == ["other_algorithm"]


def test_a_type_that_is_not_known_and_json_that_python_cannot_read_are_listed(
    make_users: Callable[[int], list[Any]],
) -> None:
    unknown, deep, long, fine = make_users(4)
    rows = [authenticators().create(user=one, type="totp", data={}) for one in (unknown, deep, long)]
    allauth_totp(fine)
    with connection.cursor() as cursor:
        change = "UPDATE mfa_authenticator SET data = %s::jsonb, type = %s WHERE id = %s"
        cursor.execute(change, ["{}", "voice", rows[0].pk])
        cursor.execute(change, ["[" * 3000 + "]" * 3000, "totp", rows[1].pk])
        cursor.execute(change, ["1" * 5000, "totp", rows[2].pk])

    assert reasons("allauth") == {"other_kind": [str(rows[0].pk)], "unreadable": [str(rows[1].pk), str(rows[2].pk)]}
    assert Factor.objects.count() == 1


def test_recovery_codes_are_not_imported_and_not_listed(user: Any) -> None:
    allauth_totp(user)
    assert authenticators().filter(type="recovery_codes").exists()

    assert imported("allauth") == {"imported": {"totp": 1}, "dry_run": False, "skipped": {}}


def test_the_tables_of_the_other_package_stay_as_they_are(user: Any) -> None:
    allauth_totp(user)
    allauth_passkey(user)
    before = list(authenticators().order_by("pk").values())

    imports("allauth")

    assert list(authenticators().order_by("pk").values()) == before


def test_a_package_that_is_not_installed_is_an_error(settings: Settings) -> None:
    from django.core.management import CommandError

    settings.INSTALLED_APPS = [app for app in django_settings.INSTALLED_APPS if app != "allauth.mfa"]

    with pytest.raises(CommandError, match=r"'allauth\.mfa' is not in INSTALLED_APPS\. Keep the other package"):
        imports("allauth")


def test_an_assertion_with_another_challenge_is_refused_as_for_any_passkey(api: Api, user: Any) -> None:
    passkey: FakePasskey = allauth_passkey(user)
    imports("allauth")
    begun, other = begin(api), begin(api)

    assert refusal(finish_by_passkey(api, begun, passkey.get(other["public_key"]))) == (401, "invalid_factor")
