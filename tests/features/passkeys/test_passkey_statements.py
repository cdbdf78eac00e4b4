"""How many statements the operations of passkeys execute, without those that begin and end transactions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.conftest import Api
from tests.features.passkeys.conftest import Owner, begin, finish, new_passkey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]

_OF_TRANSACTIONS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


@contextmanager
def exactly(number: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    sent = [query["sql"].removeprefix("BEGIN; ") for query in captured]
    found = [statement for statement in sent if not statement.startswith(_OF_TRANSACTIONS)]
    assert len(found) == number, "\n".join(found)


def test_the_options_of_a_login_are_made_without_a_look_at_any_user(
    api: Api, owner: Owner, pend: Callable[..., str], kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"request_network": "60/m"})
    challenge = pend()
    with exactly(1):
        begin(api)
    with exactly(2):
        begin(api, challenge)


def test_a_login(api: Api, owner: Owner, pend: Callable[..., str], kit: Callable[..., None]) -> None:
    kit(THROTTLES={"token_network": "60/m"})
    for challenge, number in ((None, 9), (pend(), 10)):
        begun = begin(api, challenge)
        credential = owner.passkey.get(begun["public_key"])
        with exactly(number):
            assert finish(api, begun, credential).status_code == 200


def test_a_step_up(api: Api, owner: Owner) -> None:
    with exactly(2):
        begun = api.post("step-up/passkey/options", token=owner.token).json()
    body = {"challenge_token": begun["challenge_token"], "credential": owner.passkey.get(begun["public_key"])}
    with exactly(9):
        assert api.post("step-up/passkey", body, token=owner.token).status_code == 200


def test_a_registration(api: Api, owner: Owner) -> None:
    with exactly(5):
        begun = api.post("factors/passkeys/options", token=owner.token).json()
    body = {"challenge_token": begun["challenge_token"], "credential": new_passkey().create(begun["public_key"])}
    with exactly(16):  # of which two send the email to the owner
        assert api.post("factors/passkeys", body, token=owner.token).status_code == 201
