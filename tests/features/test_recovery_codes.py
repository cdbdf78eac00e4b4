"""Recovery codes: look-up secrets that are shown once, count once, and exist as long as a factor does."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from ninja_auth_kit.contrib.factors.models import RecoveryCode
from tests.attacks.canaries import database, leaks
from tests.conftest import EMAIL, Api, event_names, events
from tests.features.conftest import Enrolled, answer, enrol, finish_by_recovery_code

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = (401, "invalid_factor")
WRONG = (403, "wrong_factor")
DONE = (200, None)
GROUP = "[0-9A-HJKMNP-TV-Z]{4}"  # Crockford's alphabet: 5 bits a letter, 120 bits in 24 letters


@pytest.mark.security("REC-01")
def test_ten_codes_of_120_bits_are_told_once_and_kept_as_digests(api: Api, enrolled: Enrolled) -> None:
    assert len(set(enrolled.codes)) == 10
    assert all(re.fullmatch(f"({GROUP}-){{5}}{GROUP}", code) for code in enrolled.codes)
    assert len({letter for code in enrolled.codes for letter in code}) > 25

    plain = {code: code.replace("-", "") for code in enrolled.codes}
    assert leaks(database(), {**plain, **{f"{code} as shown": code for code in plain}}) == []
    listed = api.get("factors", token=enrolled.token)
    assert listed.json()["recovery_codes_left"] == 10
    assert not any(code in listed.content.decode() for code in enrolled.codes)


def test_a_project_can_choose_how_many_codes_there_are(api: Api, enrolled: Enrolled, kit: Callable[..., None]) -> None:
    kit(FACTORS={"RECOVERY_CODES": 7})
    renewed = api.post("factors/recovery-codes", token=enrolled.token).json()["codes"]
    assert len(set(renewed)) == RecoveryCode.objects.count() == 7


SPELLINGS: list[Callable[[str], str]] = [
    lambda code: code,
    lambda code: code.lower(),
    lambda code: code.replace("-", ""),
    lambda code: code.replace("-", " "),
    lambda code: f"  {code.replace('-', ' - ').lower()} ",
    lambda code: code.replace("1", "I").replace("0", "O"),
    lambda code: code.replace("1", "L").replace("0", "o"),
    lambda code: code.replace("1", "l").replace("0", "O"),
]


@pytest.mark.security("REC-01")
@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_code_may_be_typed_in_any_of_its_spellings(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], spell: Callable[[str], str]
) -> None:
    code = next(code for code in enrolled.codes if "1" in code or "0" in code)
    done = finish_by_recovery_code(api, pend(), spell(code))
    assert answer(done) == DONE
    assert done.json()["acr"] == "aal2"


@pytest.mark.security("REC-01")
@pytest.mark.parametrize(
    "change",
    [
        lambda code: code[:-1],
        lambda code: code + "0",
        lambda code: code[:-1] + ("A" if code[-1] != "A" else "B"),
        lambda code: code[5:] + "-" + code[:4],
        lambda code: code.replace("-", "_"),
        lambda code: "",
        lambda code: "-" * 29,
    ],
)
def test_any_other_text_is_refused(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], change: Callable[[str], str]
) -> None:
    assert answer(finish_by_recovery_code(api, pend(), change(enrolled.codes[0]))) == REFUSED
    assert api.get("factors", token=enrolled.token).json()["recovery_codes_left"] == 10


@pytest.mark.security("REC-02", "REC-03")
def test_a_code_counts_once_and_the_others_stay(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], audited: None
) -> None:
    for used, code in enumerate(enrolled.codes, 1):
        done = finish_by_recovery_code(api, pend(), code)
        assert answer(done) == DONE
        assert done.json()["recovery_codes_left"] == 10 - used
        assert answer(finish_by_recovery_code(api, pend(), code)) == REFUSED
    used_events = [event for event in events() if "recovery.used" in event["type"]]
    assert [event["data"]["details"] for event in used_events] == [{"left": left} for left in range(9, -1, -1)]


@pytest.mark.security("REC-02")
def test_a_code_of_a_step_up_is_used_for_a_login_too_and_the_other_way_round(
    api: Api, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    first, second, *_ = enrolled.codes
    assert answer(api.post("step-up/recovery-code", {"code": first}, token=enrolled.token)) == DONE
    assert answer(finish_by_recovery_code(api, pend(), first)) == REFUSED
    token = finish_by_recovery_code(api, pend(), second).json()["access_token"]
    assert answer(api.post("step-up/recovery-code", {"code": second}, token=token)) == WRONG


@pytest.mark.security("REC-03")
def test_new_codes_void_the_old_ones(api: Api, enrolled: Enrolled, pend: Callable[..., str], audited: None) -> None:
    mail.outbox.clear()
    renewed = api.post("factors/recovery-codes", token=enrolled.token).json()["codes"]

    assert not set(renewed) & set(enrolled.codes)
    assert event_names() == ["recovery.generated"]
    assert [sent.to for sent in mail.outbox] == [[EMAIL]]
    assert answer(finish_by_recovery_code(api, pend(), enrolled.codes[0])) == REFUSED
    assert answer(finish_by_recovery_code(api, pend(), renewed[0])) == DONE


@pytest.mark.security("REC-01", "REC-02")
def test_a_code_of_another_user_is_no_code(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], make_user: Callable[..., Any]
) -> None:
    other = make_user("grace@example.com")
    _, confirmed = enrol(api, api.pair("grace@example.com")["access_token"])
    foreign = confirmed.json()["recovery_codes"]
    assert answer(finish_by_recovery_code(api, pend(), foreign[0])) == REFUSED
    assert answer(api.post("step-up/recovery-code", {"code": foreign[0]}, token=enrolled.token)) == WRONG

    # Nor after somebody who can write to the database has moved the row.
    RecoveryCode.objects.filter(user=other.pk).update(user=enrolled.user.pk)
    assert answer(finish_by_recovery_code(api, pend(), foreign[1])) == REFUSED


@pytest.mark.security("REC-04")
def test_the_owner_is_mailed_how_many_are_left(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    for code, left in zip(enrolled.codes[:9], range(9, 0, -1), strict=True):
        mail.outbox.clear()
        assert answer(finish_by_recovery_code(api, pend(), code)) == DONE
        (sent,) = mail.outbox
        assert sent.to == [EMAIL]
        assert "recovery code was used" in sent.subject
        said = f"{left} code is left." if left == 1 else f"{left} codes are left."
        (html,) = [str(part.content) for part in sent.alternatives if part.mimetype == "text/html"]
        for text in (str(sent.body), html):
            assert said in " ".join(text.split())
            assert code not in text


@pytest.mark.security("REC-04")
def test_the_owner_is_mailed_about_a_step_up_too(api: Api, enrolled: Enrolled) -> None:
    mail.outbox.clear()
    api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=enrolled.token)
    assert ["9 codes are left" in str(sent.body) for sent in mail.outbox] == [True]
    api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=enrolled.token)
    assert len(mail.outbox) == 1


@pytest.mark.security("REC-05")
def test_there_are_no_codes_without_a_factor(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    assert answer(api.post("factors/recovery-codes", token=token)) == (409, "no_factor")
    api.post("factors/totp", {}, token=token)  # not confirmed
    assert answer(api.post("factors/recovery-codes", token=token)) == (409, "no_factor")
    assert answer(api.post("step-up/recovery-code", {"code": "0" * 24}, token=token)) == WRONG
    assert RecoveryCode.objects.count() == 0


@pytest.mark.security("REC-05")
def test_the_codes_stay_as_long_as_a_factor_does(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    _, confirmed = enrol(api, enrolled.token, name="my tablet")
    tablet = confirmed.json()["factor"]["id"]
    assert api.delete(f"factors/{enrolled.factor_id}", token=enrolled.token).status_code == 204
    assert api.get("factors", token=enrolled.token).json()["recovery_codes_left"] == 10
    token = finish_by_recovery_code(api, pend(), enrolled.codes[0]).json()["access_token"]

    assert api.delete(f"factors/{tablet}", token=token).status_code == 204

    assert RecoveryCode.objects.count() == 0
    assert answer(api.post("step-up/recovery-code", {"code": enrolled.codes[1]}, token=token)) == WRONG
