"""Passkeys under attack: any object as a credential, and what must not be in logs and events."""

import base64
import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ninja_auth_kit.contrib.passkeys.models import Passkey
from tests.conftest import Api, events
from tests.features.passkeys.conftest import Owner, begin, finish, new_passkey, register

pytestmark = pytest.mark.django_db(transaction=True)

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
OBJECTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
MEMBERS = ["id", "rawId", "type", "clientExtensionResults", "response"]
OF_RESPONSES = [
    "clientDataJSON",
    "attestationObject",
    "authenticatorData",
    "signature",
    "userHandle",
    "transports",
    "publicKey",
]


def mutated(data: st.DataObject, credential: dict[str, Any]) -> Any:
    """Return a genuine credential with one member changed, or any object."""
    changed = copy.deepcopy(credential)
    where = data.draw(st.sampled_from(["anything", *MEMBERS, *OF_RESPONSES]))
    if where == "anything":
        return data.draw(st.dictionaries(st.text(), OBJECTS))
    part = changed if where in MEMBERS else changed["response"]
    text = part.get(where)
    # Each is drawn in any case, because the length of a signature differs from run to run.
    is_letter, number = data.draw(st.booleans()), data.draw(st.integers(0, 10_000))
    letter, other = data.draw(st.sampled_from("AZaz09-_=. \x00é")), data.draw(OBJECTS)
    if isinstance(text, str) and text and is_letter:
        place = number % len(text)
        part[where] = text[:place] + letter + text[place + 1 :]
    else:
        part[where] = other
    return changed


@pytest.mark.security("PASS-14")
@pytest.mark.parametrize(
    ("path", "options", "answers"),
    [
        ("login/passkey", "login/passkey/options", {(200, ""), (401, "invalid_factor")}),
        ("factors/passkeys", "factors/passkeys/options", {(201, ""), (400, "invalid_passkey")}),
        ("step-up/passkey", "step-up/passkey/options", {(200, ""), (403, "wrong_factor")}),
    ],
)
def test_any_object_as_a_credential_gets_a_documented_answer(
    api: Api, owner: Owner, kit: Callable[..., None], path: str, options: str, answers: set[tuple[int, str]]
) -> None:
    kit(THROTTLES={"step_up_account": ()}, SESSION_LIMIT=None, PASSKEYS={"LIMIT": 100})  # more than the examples
    owner.passkey.count_by = 0
    token = None if path == "login/passkey" else owner.token

    @given(data=st.data())
    @settings(max_examples=95, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(data: st.DataObject) -> None:
        begun = api.post(options, token=token).json()
        public_key = begun["public_key"]
        device = new_passkey() if path == "factors/passkeys" else owner.passkey
        genuine = device.create(public_key) if path == "factors/passkeys" else device.get(public_key)
        body = {"challenge_token": begun["challenge_token"], "credential": mutated(data, genuine)}

        response = api.post(path, body, token=token)

        answer = response.json()
        found = (response.status_code, answer.get("code", ""))
        allowed = answers | {(422, "invalid_input"), (400, "malformed_body"), (409, "factor_exists")}
        assert found in allowed, response.content
        if response.status_code >= 400:
            assert set(answer) <= {"type", "title", "status", "detail", "code", "errors"}

    holds()


@pytest.mark.security("PASS-14")
@pytest.mark.parametrize("credential", [None, [], "x", 5, {"id": "A" * 20_000}, {"id": {"a": [[[[]]]]}}, {}])
def test_what_is_no_credential_is_refused(api: Api, user: Any, credential: Any) -> None:
    refused = finish(api, begin(api), credential)
    assert refused.status_code == (401 if isinstance(credential, dict) else 422)


def spellings(data: bytes) -> set[str]:
    encoded = base64.b64encode(data).decode().rstrip("=")
    return {data.hex(), encoded, encoded.replace("+", "-").replace("/", "_"), repr(data)[2:-1]}


@pytest.mark.security("FAC-15", "PASS-07")
def test_events_and_logs_have_no_credential_id_no_key_and_no_challenge(
    api: Api, owner: Owner, audited: None, pend: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {owner.passkey.credential_id, bytes(Passkey.objects.get().public_key), owner.passkey.user_handle}
    texts = set()
    for is_alone in (True, False):
        for count_by in (1, 0):  # the second is a suspected clone
            owner.passkey.count_by = count_by
            begun = begin(api, None if is_alone else pend())
            texts |= {begun["challenge_token"], begun["public_key"]["challenge"]}
            credential = owner.passkey.get(begun["public_key"])
            finish(api, begun, credential)
            finish(api, begun, {**credential, "type": "x"})
    owner.passkey.count_by = 1
    begun = begin(api)
    token = finish(api, begun, owner.passkey.get(begun["public_key"])).json()["access_token"]
    other = new_passkey()
    assert register(api, token, other).status_code == 201
    assert register(api, token, new_passkey(origin="https://evil.example")).status_code == 400
    secrets |= {other.credential_id}
    step_up = api.post("step-up/passkey/options", token=token).json()
    texts |= {step_up["challenge_token"], step_up["public_key"]["challenge"]}
    body = {"challenge_token": step_up["challenge_token"], "credential": {"id": "AAAA"}}
    assert api.post("step-up/passkey", body, token=token).status_code == 403

    said = caplog.text + str(events())

    names = {one["type"].split(".")[2] for one in events()}
    assert {"clone_suspected", "factor_failed", "logged_in", "step_up_failed", "added"} <= names
    for secret in {spelling for data in secrets for spelling in spellings(data)} | texts:
        assert secret not in said
