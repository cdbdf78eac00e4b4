"""Authenticator apps: the codes of RFC 6238, each counts once, and the secret is never in clear."""

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyotp
import pytest
import segno
import time_machine
from django.utils import timezone
from hypothesis import assume, given
from hypothesis import strategies as st
from pytest_django import Settings

from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.totp import codes
from ninja_auth_kit.contrib.totp.models import TotpSecret, sealed_secret
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.pruning import prune
from tests.attacks.canaries import Log, RecordingApi, Trail, database, leaks
from tests.attacks.conftest import bounded
from tests.conftest import EMAIL, PASSWORD, Api, events
from tests.features.conftest import Authenticator, Enrolled, answer, enrol, finish
from tests.keys import entry
from tests.settings import JWT_SECRET_KEY

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = (401, "invalid_factor")
WRONG = (403, "wrong_factor")
DONE = (200, None)
NEXT_ROOT = JWT_SECRET_KEY[::-1]


# The codes

VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.security("TOTP-01")
@pytest.mark.parametrize(("seconds", "digits"), VECTORS)
def test_the_codes_are_those_of_appendix_b_of_rfc_6238(seconds: int, digits: str) -> None:
    with time_machine.travel(seconds, tick=False):
        assert codes.matching_step(b"12345678901234567890", digits[-6:]) == seconds // 30
    with time_machine.travel(seconds + 60, tick=False):
        assert codes.matching_step(b"12345678901234567890", digits[-6:]) is None


@pytest.mark.security("TOTP-01", "TOTP-08")
@pytest.mark.parametrize("drift", [0, 1])
def test_a_code_may_be_one_step_early_or_late_and_no_more(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, kit: Callable[..., None], drift: int
) -> None:
    kit(TOTP={"DRIFT": drift}, ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()["access_token"]
    seen: dict[int, set[int]] = {}
    for steps in (-2, -1, 0, 1, 2):
        for seconds in (0, 29.5):  # the first and the last moment of a time step
            clock.shift(150)
            clock.shift(seconds)
            raised = api.post("step-up/totp", {"code": enrolled.app.code(steps=steps)}, token=token)
            seen.setdefault(steps, set()).add(raised.status_code)
            clock.shift(30 - seconds)
    assert seen == {steps: {200} if abs(steps) <= drift else {403} for steps in range(-2, 3)}


@pytest.mark.security("TOTP-02")
def test_a_code_counts_once_and_an_older_one_not_after_a_newer(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    clock.shift(60)
    assert answer(finish(api, pend(), enrolled.app.code(steps=1))) == DONE
    for steps in (1, 0, -1):
        assert answer(finish(api, pend(), enrolled.app.code(steps=steps))) == REFUSED
    clock.shift(60)
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE


@pytest.mark.security("TOTP-02")
def test_a_code_that_was_used_does_not_use_the_challenge_up(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE
    challenge = pend()
    assert answer(finish(api, challenge, enrolled.app.code())) == REFUSED
    assert answer(finish(api, challenge, enrolled.app.code(steps=1))) == DONE


@pytest.mark.security("TOTP-03")
def test_the_code_that_confirmed_the_app_does_not_log_in(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    confirmed_with = enrolled.app.code(steps=-1)
    assert answer(finish(api, pend(), confirmed_with)) == REFUSED
    assert answer(api.post("step-up/totp", {"code": confirmed_with}, token=enrolled.token)) == WRONG
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE


@pytest.mark.security("TOTP-04")
def test_a_code_of_a_login_is_used_for_a_step_up_too(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    code = enrolled.app.code()
    done = finish(api, pend(), code)
    assert answer(api.post("step-up/totp", {"code": code}, token=done.json()["access_token"])) == WRONG


@pytest.mark.security("TOTP-04")
def test_a_code_of_a_step_up_is_used_for_a_login_too(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    code = enrolled.app.code()
    assert answer(api.post("step-up/totp", {"code": code}, token=enrolled.token)) == DONE
    assert answer(finish(api, pend(), code)) == REFUSED


@pytest.mark.security("TOTP-02")
def test_each_app_of_a_user_has_codes_of_its_own(
    api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    tablet, _ = enrol(api, enrolled.token, name="my tablet")
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE
    assert answer(finish(api, pend(), tablet.code())) == DONE
    assert answer(finish(api, pend(), tablet.code())) == REFUSED


NO_CODES = [
    "",
    "12345",
    "1234567",
    "12 345",
    "123456 ",
    "\n123456",
    "12345a",
    "-12345",
    "+12345",
    "0x1234",
    "1e1000",
    "\uff11\uff12\uff13\uff14\uff15\uff16",
    "12345\x00",
    "12345\ud800",
    123456,
    123456.0,
    None,
    True,
    ["123456"],
    {"code": "123456"},
]


@pytest.mark.security("TOTP-07")
@pytest.mark.parametrize("value", NO_CODES, ids=ascii)
def test_only_six_ascii_digits_are_a_code(api: Api, enrolled: Enrolled, pend: Callable[..., str], value: Any) -> None:
    challenge = pend()
    for _ in range(6):  # none counts as a wrong code
        refused = api.post("login/totp", {"challenge_token": challenge, "code": value})
        assert refused.status_code == 422, refused.content
        assert api.post("step-up/totp", {"code": value}, token=enrolled.token).status_code == 422
    assert answer(finish(api, challenge, enrolled.app.code())) == DONE


@pytest.mark.security("TOTP-07")
@pytest.mark.parametrize("zero", ["\u0660", "\u0966", "\uff10", "\U0001d7ce"], ids=ascii)
def test_the_right_code_in_digits_of_another_script_is_no_code(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], zero: str
) -> None:
    foreign = "".join(chr(ord(zero) + int(digit)) for digit in enrolled.app.code())
    assert finish(api, pend(), foreign).status_code == 422


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=120),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
nearly = st.text(st.sampled_from("0123456789 \u0663\uff13+-.eE_\n\x00\ud800"), min_size=5, max_size=7)


@pytest.mark.attack
@pytest.mark.security("TOTP-07")
def test_any_other_value_is_refused_as_input_and_any_other_code_as_wrong(
    api: Api, enrolled: Enrolled, kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"step_up_account": None})
    right = {enrolled.app.code(steps=steps) for steps in (-1, 0, 1)}

    @bounded(150)
    @given(value=anything | nearly | st.from_regex("[0-9]{6}", fullmatch=True, alphabet=st.characters(codec="ascii")))
    def attack(value: Any) -> None:
        assume(not (isinstance(value, str) and value in right))
        is_code = isinstance(value, str) and re.fullmatch("[0-9]{6}", value) is not None
        refused = api.post("step-up/totp", {"code": value}, token=enrolled.token)
        assert answer(refused) == (WRONG if is_code else (422, "validation_error"))

    attack()


# The enrolment


@pytest.mark.security("TOTP-08")
def test_each_secret_has_160_random_bits(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    secrets = [api.post("factors/totp", {}, token=token).json()["secret"] for _ in range(20)]
    assert {len(base64.b32decode(secret)) for secret in secrets} == {20}
    assert len(set(secrets)) == 20


def test_an_app_reads_the_address_and_the_picture(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(TOTP={"ISSUER_NAME": "Ada & Söhne"}, BASE_URL="https://bank.example")
    begun = api.post("factors/totp", {"name": "my phone"}, token=api.pair()["access_token"])
    assert begun.status_code == 201
    body = begun.json()
    read = pyotp.parse_uri(body["otpauth_uri"])
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.name, read.digits, read.interval) == (body["secret"], EMAIL, 6, 30)
    assert read.digest().name == "sha1"
    assert read.issuer == "Ada & Söhne"
    assert body["qr_svg"] == segno.make(body["otpauth_uri"], error="m").svg_inline(scale=4, border=4)
    assert body["qr_svg"].startswith("<svg ")
    assert "<script" not in body["qr_svg"]
    assert body["expires_in"] == 900


def test_without_a_name_of_the_site_the_app_shows_its_host(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(BASE_URL="https://bank.example:8443/portal")
    begun = api.post("factors/totp", token=api.pair()["access_token"]).json()
    assert pyotp.parse_uri(begun["otpauth_uri"]).issuer == "bank.example"


def test_a_user_may_have_as_many_apps_as_the_limit_allows(
    api: Api, enrolled: Enrolled, kit: Callable[..., None]
) -> None:
    kit(TOTP={"LIMIT": 2})
    enrol(api, enrolled.token, name="my tablet")

    refused = api.post("factors/totp", {}, token=enrolled.token)

    assert answer(refused) == (409, "limit_reached")
    assert api.delete(f"factors/{enrolled.factor_id}", token=enrolled.token).status_code == 204
    assert api.post("factors/totp", {}, token=enrolled.token).status_code == 201


@pytest.mark.parametrize(("seconds", "status"), [(899, 200), (900, 404)])
def test_an_app_can_be_confirmed_for_fifteen_minutes(
    api: Api, user: Any, clock: time_machine.Traveller, kit: Callable[..., None], seconds: int, status: int
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.pair()["access_token"]
    begun = api.post("factors/totp", {}, token=token).json()
    clock.shift(seconds)
    raised = api.post("step-up/password", {"password": PASSWORD}, token=token).json()["access_token"]

    code = Authenticator(begun["secret"]).code()
    assert api.post(f"factors/totp/{begun['id']}/confirm", {"code": code}, token=raised).status_code == status
    clock.shift(1)
    list(prune(keep=timedelta(days=1)))
    assert TotpSecret.objects.count() == Factor.objects.count() == (1 if status == 200 else 0)


def test_an_enrolment_can_be_confirmed_by_its_user_alone_and_once(
    api: Api, user: Any, make_user: Callable[..., Any]
) -> None:
    token = api.pair()["access_token"]
    begun = api.post("factors/totp", {}, token=token).json()
    app, path = Authenticator(begun["secret"]), f"factors/totp/{begun['id']}/confirm"
    make_user("grace@example.com")
    other = api.pair("grace@example.com")["access_token"]
    assert answer(api.post(path, {"code": app.code()}, token=other)) == (404, "not_found")
    assert answer(api.post(path, {"code": app.wrong_code()}, token=token)) == WRONG

    tokens = api.post(path, {"code": app.code()}, token=token).json()["tokens"]

    assert answer(api.post(path, {"code": app.code(steps=1)}, token=tokens["access_token"])) == (404, "not_found")


def test_ten_wrong_codes_close_the_confirmation(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    begun = api.post("factors/totp", {}, token=token).json()
    app, path = Authenticator(begun["secret"]), f"factors/totp/{begun['id']}/confirm"
    statuses = [api.post(path, {"code": app.wrong_code()}, token=token).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    assert api.post(path, {"code": app.code()}, token=token).status_code == 429


def test_a_user_whose_address_is_not_verified_any_more_gets_a_documented_answer(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    user.email = "moved@example.com"
    user.save()
    _, refused = enrol(api, token)
    assert answer(refused) == (403, "email_not_verified")
    assert not Factor.objects.filter(confirmed_at__isnull=False).exists()


# The secret


def spelled(secret: str) -> dict[str, str]:
    """Return the secret in Base32 and as bytes, in the spellings in which it could leak."""
    raw = base64.b32decode(secret)
    encoded = base64.b64encode(raw).decode()
    return {
        "Base32": secret,
        "Base32 in lower case": secret.lower(),
        "hex": raw.hex(),
        "Base64": encoded[:24],
        "Base64 of URLs": base64.urlsafe_b64encode(raw).decode()[:24],
        "bytes": repr(raw)[2:-1],
    }


@pytest.mark.security("TOTP-05")
@pytest.mark.parametrize("debug", [False, True])
def test_the_secret_is_told_once_and_is_nowhere_in_clear(
    user: Any, audited: None, settings: Settings, kit: Callable[..., None], debug: bool
) -> None:
    kit(AUDIT_EMBEDDED_RELAY=False)  # with DEBUG, it would publish the events of all tests that follow
    settings.DEBUG = debug
    api = RecordingApi(Trail())
    with Log() as log:
        token = api.pair()["access_token"]
        begun = api.post("factors/totp", {"name": "my phone"}, token=token).json()
        told, app = len(api.trail.answers), Authenticator(begun["secret"])
        path = f"factors/totp/{begun['id']}/confirm"
        api.post(path, {"code": app.wrong_code()}, token=token)
        token = api.post(path, {"code": app.code(steps=-1)}, token=token).json()["tokens"]["access_token"]
        api.patch(f"factors/{begun['id']}", {"name": "my watch"}, token=token)
        api.get("factors", token=token)
        api.post("step-up/totp", {"code": app.code()}, token=token)
        for code in (app.wrong_code(), app.code(steps=1)):
            api.post("login/totp", {"challenge_token": api.login().json()["challenge_token"], "code": code})

    row = TotpSecret.objects.select_related("factor").get()
    later = dict(list(api.trail.answers.items())[told:])
    sought = spelled(begun["secret"])
    assert len(later) == 9
    assert leaks(database(), sought) == []
    assert leaks(log.lines(), sought) == []
    assert leaks({"events": str(events())}, sought) == []
    assert leaks(later, sought) == []
    assert leaks({"rows": f"{row!r} {row} {row.factor!r} {row.factor}"}, sought) == []


@pytest.mark.security("TOTP-05")
def test_a_secret_that_was_moved_to_another_factor_or_user_does_not_open(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], make_user: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    attacker, confirmed = enrol(api, api.pair("grace@example.com")["access_token"])
    own = TotpSecret.objects.get(factor=confirmed.json()["factor"]["id"])

    TotpSecret.objects.filter(factor=enrolled.factor_id).update(secret=own.secret)
    assert answer(finish(api, pend(), attacker.code())) == REFUSED
    assert answer(api.post("step-up/totp", {"code": attacker.code()}, token=enrolled.token)) == WRONG

    Factor.objects.filter(pk=own.factor_id).update(user=enrolled.user.pk)
    assert answer(finish(api, pend(), attacker.code())) == REFUSED
    assert UserSession.objects.filter(user=enrolled.user.pk).count() == 2  # of the fixture


@pytest.mark.security("TOTP-05")
def test_a_secret_that_was_moved_cannot_be_confirmed(
    api: Api, user: Any, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    attacker = api.post("factors/totp", {}, token=api.pair("grace@example.com")["access_token"]).json()
    begun = api.post("factors/totp", {}, token=enrolled.token).json()
    stored = TotpSecret.objects.get(factor=attacker["id"]).secret
    TotpSecret.objects.filter(factor=begun["id"]).update(secret=stored)

    code = Authenticator(attacker["secret"]).code()

    path = f"factors/totp/{begun['id']}/confirm"
    assert answer(api.post(path, {"code": code}, token=enrolled.token)) == (404, "not_found")


@pytest.mark.security("TOTP-05")
@pytest.mark.parametrize("data", ["", "A", "AAAA", "A" * 100])
def test_a_secret_that_the_kit_has_not_written_opens_nothing(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], data: str
) -> None:
    row = TotpSecret.objects.get()
    TotpSecret.objects.update(secret=row.secret[:12] + (data or "-"))
    assert answer(finish(api, pend(), enrolled.app.code())) == REFUSED


@pytest.mark.security("TOTP-06")
def test_codes_go_on_when_the_root_secret_is_rotated_and_the_row_follows_at_its_use(
    api: Api,
    clock: time_machine.Traveller,
    enrolled: Enrolled,
    pend: Callable[..., str],
    settings: Settings,
    kit: Callable[..., None],
) -> None:
    before = TotpSecret.objects.get().secret
    settings.JWT_SECRET_KEY = NEXT_ROOT
    kit(SIGNING_KEYS=[entry("HS256", JWT_SECRET_KEY, "verify-only")])

    assert answer(finish(api, pend(), enrolled.app.code())) == DONE

    after = TotpSecret.objects.get().secret
    assert after[:12] != before[:12]
    clock.shift(60)
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE
    assert TotpSecret.objects.get().secret == after
    kit(SIGNING_KEYS=None)
    clock.shift(60)
    assert answer(finish(api, pend(), enrolled.app.code())) == DONE


@pytest.mark.security("TOTP-06")
def test_a_secret_of_a_root_that_was_removed_is_refused_like_a_wrong_code(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], settings: Settings, kit: Callable[..., None]
) -> None:
    settings.JWT_SECRET_KEY = NEXT_ROOT
    kit(SIGNING_KEYS=None)
    assert answer(finish(api, pend(), enrolled.app.code())) == REFUSED


def test_the_same_secret_is_sealed_differently_each_time(enrolled: Enrolled) -> None:
    row = TotpSecret.objects.select_related("factor").get()
    sealed = {sealed_secret(row.open(), user_id=row.factor.user_id, factor_id=row.factor_id) for _ in range(20)}
    assert len(sealed) == 20


def test_an_app_that_was_used_says_when(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    before = timezone.now()
    token = finish(api, pend(), enrolled.app.code()).json()["access_token"]
    (factor,) = api.get("factors", token=token).json()["factors"]
    assert factor["last_used_at"] >= before.isoformat()[:19]
