"""A copy of the database does not allow a login, and tokens cannot be guessed from other tokens."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, UserSession
from ninja_auth_kit.models.one_time_tokens import Purpose, new_one_time_token, one_time_token_digest
from ninja_auth_kit.tokens import issue_refresh_token, read_expired_access_token, read_refresh_token
from tests.attacks.canaries import database
from tests.attacks.conftest import started
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token

pytestmark = pytest.mark.attack

MANY = 10_000


def candidates(value: str) -> Iterator[str]:
    """Yield what a thief could send: a value, its parts, its windows, its bytes as a token."""
    parts = {value, *value.split("$"), *value.split(":"), *value.split("_")}
    for part in parts:
        yield part
        for length in (32, 43, 70):
            yield from (part[start : start + length] for start in range(0, len(part) - length + 1, 8))
        for data in (part.encode(), bytes.fromhex(part) if _is_hexadecimal(part) else b""):
            dressed = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
            yield from (f"nakr_{dressed}", f"nako_{dressed}", f"nakr_{part}", f"nako_{part}")


def _is_hexadecimal(text: str) -> bool:
    return len(text) % 2 == 0 and set(text) <= set("0123456789abcdef")


def planted_refresh_tokens() -> Iterator[str]:
    """Yield the refresh tokens that can be built from a session's row, with a digest as the HMAC."""
    for session in UserSession.objects.all():
        for digest in (session.refresh_token, session.auth_hash):
            for generation in (session.generation, session.generation + 1):
                body = session.pk.bytes + generation.to_bytes(4) + bytes.fromhex(digest.rpartition("$")[2])
                yield "nakr_" + base64.urlsafe_b64encode(body).rstrip(b"=").decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("SES-19", "JWT-11")
def test_nothing_in_any_table_can_be_replayed_whole_in_part_or_dressed_up(
    api: Api, make_user: Callable[..., Any], audited: None
) -> None:
    for email in (EMAIL, "grace@example.com"):
        make_user(email)
        api.post("refresh", {"refresh_token": api.pair(email)["refresh_token"]})
        api.pair(email)
    api.register("waiting@example.com")
    api.register(EMAIL, username="turned_away")
    api.post("password/reset", {"email": EMAIL})
    reset, pair = mailed_token(), api.pair()
    move = {"new_email": "new@example.com", "password": PASSWORD}
    api.post("email/change", move, token=pair["access_token"])
    moved = mailed_token(-2)
    values = {value for row in database().values() for value in parts(json.loads(row))}
    found = {one for value in values for one in candidates(value)} | set(planted_refresh_tokens())

    assert len(values) > 100
    assert len(found) > 1000
    assert accepted(found) == set()
    for value in (*values, *planted_refresh_tokens()):
        assert api.post("refresh", {"refresh_token": value}).status_code in {401, 422}
        assert api.get("me", token=value.encode("latin-1", "replace").decode("latin-1")).status_code == 401
    assert BlacklistedToken.objects.count() == 3
    genuine = {pair["refresh_token"], pair["access_token"], reset, moved}
    assert accepted({*genuine, "garbage"}) == genuine


def parts(value: Any) -> Iterator[str]:
    """Yield the values in a value of the database. A text column may have JSON, too."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from parts(part)
    else:
        yield str(value)


def accepted(tokens: set[str]) -> set[str]:
    """Return the tokens that the kit accepts, of any kind."""
    digests = {one_time_token_digest(purpose=purpose, token=token): token for token in tokens for purpose in Purpose}
    rows = OneTimeToken.objects.filter(digest__in=digests).values_list("digest", flat=True)
    accepted = {digests[digest] for digest in rows}
    for read in (read_refresh_token, read_expired_access_token):
        for token in tokens:
            with suppress(InvalidTokenError):
                read(token)
                accepted.add(token)
    return accepted


@pytest.mark.security("SES-20")
def test_ten_thousand_refresh_tokens_have_nothing_in_common() -> None:
    sessions = [uuid.uuid4() for _ in range(MANY)]
    tokens = [issue_refresh_token(session_id=session, generation=0) for session in sessions]
    macs = [base64.urlsafe_b64decode(token.removeprefix("nakr_") + "==")[20:] for token in tokens]

    assert len(set(tokens)) == len(set(macs)) == MANY
    assert {len(token) for token in tokens} == {75}
    assert len({token[:6] for token in tokens}) == 64  # every letter follows the prefix
    assert {len(mac) * 8 for mac in macs} == {256}
    assert_bits_are_even(macs)


@pytest.mark.security("SES-20")
def test_the_generations_of_one_session_do_not_tell_the_next() -> None:
    session = uuid.uuid4()
    tokens = [issue_refresh_token(session_id=session, generation=number) for number in range(MANY)]
    macs = [base64.urlsafe_b64decode(token.removeprefix("nakr_") + "==")[20:] for token in tokens]

    assert len(set(macs)) == MANY
    assert_bits_are_even(macs)


@pytest.mark.security("SES-20")
def test_ten_thousand_mailed_tokens_have_nothing_in_common() -> None:
    tokens = [new_one_time_token() for _ in range(MANY)]
    values = [base64.urlsafe_b64decode(token.removeprefix("nako_") + "=") for token in tokens]

    assert len(set(values)) == MANY
    assert {len(value) * 8 for value in values} == {256}
    assert len({token[:6] for token in tokens}) == 64  # every letter follows the prefix
    assert_bits_are_even(values)


@pytest.mark.django_db
@pytest.mark.security("SES-20")
def test_a_session_gets_a_random_id_and_nothing_of_its_user(user: Any) -> None:
    ids = [started(user).session_id for _ in range(200)]

    assert len(set(ids)) == 200
    assert {session.version for session in ids} == {4}
    assert len({session.hex[0] for session in ids}) == 16


def assert_bits_are_even(values: list[bytes]) -> None:
    """Assert that each bit is set in about half of the values, within eight standard deviations."""
    for position in range(len(values[0]) * 8):
        ones = sum(value[position // 8] >> position % 8 & 1 for value in values)
        assert abs(ones - len(values) / 2) < 8 * (len(values) ** 0.5) / 2
