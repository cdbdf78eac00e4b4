"""The ceremonies against a software authenticator: it sends what is right, and then one thing that is wrong."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from webauthn.helpers import (
    bytes_to_base64url,
    parse_authentication_options_json,
    parse_registration_options_json,
)

from ninja_auth_kit.contrib.passkeys import ceremonies
from ninja_auth_kit.contrib.passkeys.ceremonies import ClonedPasskeyError, InvalidPasskeyError
from ninja_auth_kit.contrib.passkeys.structures import Assertion, Descriptor, NewPasskey, RelyingParty, StoredPasskey
from ninja_auth_kit.contrib.passkeys.testing import EDDSA, ES256, RS256, FakePasskey

ORIGIN = "https://example.com"
APP = "android:apk-key-hash:" + "A" * 43
PARTY = RelyingParty("example.com", "Example Shop", (ORIGIN, "https://www.example.com", APP))
CHALLENGE, HANDLE = secrets.token_bytes(32), secrets.token_bytes(32)
OTHER = bytes_to_base64url(secrets.token_bytes(32))

CREATION = ceremonies.registration_options(
    PARTY, challenge=CHALLENGE, handle=HANDLE, user_name="ann@example.com", exclude=[]
)
REQUEST = ceremonies.authentication_options(PARTY, challenge=CHALLENGE, require_verification=True)

Change = Callable[[dict[str, Any]], object]


def registered(credential: Any) -> NewPasskey:
    return ceremonies.verify_registration(credential, party=PARTY, challenge=CHALLENGE)


def asserted(
    credential: Any, passkey: StoredPasskey | None, *, require_verification: bool = True, require_handle: bool = True
) -> Assertion:
    return ceremonies.verify_assertion(
        credential,
        passkey,
        party=PARTY,
        challenge=CHALLENGE,
        require_verification=require_verification,
        require_handle=require_handle,
    )


def stored(fake: FakePasskey) -> StoredPasskey:
    """Register a passkey, and return what the kit stores about it."""
    new = registered(fake.create(CREATION))
    return StoredPasskey(new.credential_id, new.public_key, new.sign_count, new.backup_eligible, HANDLE)


def refusal(call: Callable[[], object]) -> str:
    """Return the reason of a refusal, with that of the library behind it."""
    with pytest.raises(InvalidPasskeyError) as caught:
        call()
    assert type(caught.value) is InvalidPasskeyError
    return f"{caught.value} {caught.value.__cause__ or ''}"


def changed(credential: dict[str, Any], member: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a credential of which one member of the response is another one."""
    return {**credential, "response": {**credential["response"], member: change(credential["response"][member])}}


def in_bytes(change: Callable[[bytes], bytes]) -> Callable[[str], str]:
    return lambda text: bytes_to_base64url(change(base64.urlsafe_b64decode(text + "==")))


def in_cbor(change: Change) -> Callable[[str], str]:
    def recoded(data: bytes) -> bytes:
        value = cbor2.loads(data)
        change(value)
        return cbor2.dumps(value)

    return in_bytes(recoded)


def with_key(credential: dict[str, Any], key: Any) -> dict[str, Any]:
    """Return a registration in which the authenticator has another public key, as CBOR writes it."""

    def replace(attestation: dict[str, Any]) -> None:
        data = attestation["authData"]
        attestation["authData"] = data[: 55 + int.from_bytes(data[53:55])] + cbor2.dumps(key)

    return changed(credential, "attestationObject", in_cbor(replace))


# What is right


@pytest.mark.parametrize("attestation", ["none", "packed"])
@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
def test_a_passkey_of_each_algorithm_is_registered_and_used(algorithm: int, attestation: Any) -> None:
    fake = FakePasskey(origin=ORIGIN, algorithm=algorithm, attestation=attestation, transports=("usb", "nfc"))

    new = registered(fake.create(CREATION))

    assert new == NewPasskey(
        credential_id=fake.credential_id,
        public_key=new.public_key,
        sign_count=0,
        backup_eligible=False,
        backed_up=False,
        aaguid=UUID(int=0),
        transports=("usb", "nfc"),
        is_discoverable=True,
        is_user_verified=True,
    )
    passkey = StoredPasskey(new.credential_id, new.public_key, 0, False, HANDLE)
    assert asserted(fake.get(REQUEST), passkey) == Assertion(1, False, True)


@pytest.mark.parametrize("origin", PARTY.origins)
def test_each_configured_origin_may_use_passkeys(origin: str) -> None:
    fake = FakePasskey(origin=origin)
    passkey = stored(fake)

    assert asserted(fake.get(REQUEST), passkey)


def test_a_credential_names_the_passkey_to_look_up() -> None:
    fake = FakePasskey()
    fake.create(CREATION)

    assert ceremonies.credential_id_of(fake.get(REQUEST)) == fake.credential_id


def test_what_the_authenticator_says_is_returned() -> None:
    fake = FakePasskey(
        is_resident=False,
        is_user_verified=False,
        backup_eligible=True,
        backed_up=True,
        sign_count=7,
        aaguid=UUID(int=5),
        transports=(),
    )

    new = registered(fake.create(CREATION))

    assert (new.is_discoverable, new.is_user_verified, new.transports) == (False, False, ())
    assert (new.backup_eligible, new.backed_up, new.sign_count, new.aaguid) == (True, True, 7, UUID(int=5))


def test_unknown_words_for_transports_are_kept_and_what_cannot_be_one_is_left_out() -> None:
    words = ["internal", "telepathy", "internal", "two words", "", 5, None, "x" * 33, *(f"t{i}" for i in range(20))]
    credential = changed(FakePasskey().create(CREATION), "transports", lambda _: words)

    transports = registered(credential).transports

    assert transports == ("internal", "telepathy", "t0", "t1", "t2", "t3", "t4", "t5")
    assert registered(changed(credential, "transports", lambda _: "usb")).transports == ()


@pytest.mark.parametrize("extensions", [{}, None, [], {"credProps": {}}, {"credProps": {"rk": "yes"}}])
def test_without_an_answer_of_the_browser_it_is_not_known_whether_a_passkey_is_discoverable(extensions: Any) -> None:
    credential = {**FakePasskey().create(CREATION), "clientExtensionResults": extensions}

    assert registered(credential).is_discoverable is None


@pytest.mark.parametrize("extra", [{"extraData": "for the future"}, {"tokenBinding": {"status": "supported"}}])
def test_browsers_may_add_members(extra: dict[str, Any]) -> None:
    fake = FakePasskey(client_data=extra)
    passkey = stored(fake)

    assert asserted({**fake.get(REQUEST), "authenticatorAttachment": "telepathic", "more": [1]}, passkey)


def test_a_second_factor_needs_no_verified_user_and_no_user_handle() -> None:
    fake = FakePasskey(is_resident=False, is_user_verified=False)
    passkey = stored(fake)

    said = asserted(fake.get(REQUEST), passkey, require_verification=False, require_handle=False)

    assert said == Assertion(1, False, False)


# The options


def test_the_options_are_those_that_browsers_read() -> None:
    descriptor = Descriptor(b"\x01\xff", ("usb", "telepathy"))
    options = ceremonies.registration_options(
        PARTY, challenge=CHALLENGE, handle=HANDLE, user_name="ann@example.com", exclude=[descriptor, Descriptor(b"2")]
    )
    known = [{**one, "transports": ["usb"]} for one in options["excludeCredentials"]]  # the library knows no others
    read = parse_registration_options_json(json.dumps({**options, "excludeCredentials": known}))

    assert (read.rp.id, read.rp.name, read.user.id, read.user.name) == (*PARTY[:2], HANDLE, "ann@example.com")
    assert (read.challenge, read.timeout) == (CHALLENGE, 300_000)
    assert [parameter.alg for parameter in read.pub_key_cred_params] == [-8, -7, -257]
    assert options["excludeCredentials"] == [
        {"type": "public-key", "id": "Af8", "transports": ["usb", "telepathy"]},
        {"type": "public-key", "id": "Mg"},
    ]
    assert options["authenticatorSelection"]["residentKey"] == "preferred"
    assert options["authenticatorSelection"]["userVerification"] == "preferred"
    assert (options["attestation"], options["extensions"]) == ("none", {"credProps": True})


@pytest.mark.security("PASS-06")
def test_the_options_of_a_login_name_no_passkey_and_differ_by_their_challenge_only() -> None:
    others = ceremonies.authentication_options(PARTY, challenge=b"0" * 32, require_verification=True)

    assert "allowCredentials" not in REQUEST
    assert {**others, "challenge": REQUEST["challenge"]} == REQUEST
    read = parse_authentication_options_json(json.dumps({"allowCredentials": [], **REQUEST}))
    assert (read.challenge, read.rp_id, read.user_verification) == (CHALLENGE, "example.com", "required")


def test_the_options_of_a_pending_login_list_the_passkeys_of_its_user() -> None:
    options = ceremonies.authentication_options(
        PARTY, challenge=CHALLENGE, allow=[Descriptor(b"2", ("usb",))], require_verification=False
    )

    assert options["allowCredentials"] == [{"type": "public-key", "id": "Mg", "transports": ["usb"]}]
    assert options["userVerification"] == "preferred"


# One thing that is wrong, in both ceremonies


def attempts(fake: FakePasskey, change: Callable[[FakePasskey], object]) -> Iterator[Callable[[], object]]:
    """Return a registration and a use of a passkey, after a change of the authenticator or the browser."""
    passkey = stored(fake)
    change(fake)
    credential = fake.get(REQUEST)
    yield lambda: asserted(credential, passkey)
    yield lambda: registered(fake.create(CREATION))


def client_data(**members: Any) -> Callable[[FakePasskey], object]:
    return lambda fake: setattr(fake, "client_data", members)


@pytest.mark.security("PASS-02")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (client_data(challenge=OTHER), "challenge"),
        (client_data(challenge=""), "challenge"),
        (client_data(challenge=None), "challenge"),
        (client_data(challenge=bytes_to_base64url(CHALLENGE) + "="), "challenge"),
        (client_data(challenge="!" + bytes_to_base64url(CHALLENGE)), "challenge"),
        (client_data(type="payment.get"), "client data type"),
        (client_data(type=None), "client data type"),
        (client_data(origin="https://example.com.attacker.example"), "origin"),
        (client_data(origin="https://example.com/"), "origin"),
        (client_data(origin="https://EXAMPLE.com"), "origin"),
        (client_data(origin="http://example.com"), "origin"),
        (client_data(origin="https://example.com:444"), "origin"),
        (client_data(origin="null"), "origin"),
        (client_data(origin=None), "origin"),
        (client_data(origin=list(PARTY.origins)), "origin"),
        (lambda fake: setattr(fake, "is_user_present", False), "User was not present|User presence"),
    ],
)
def test_a_ceremony_with_one_wrong_value_is_refused(change: Callable[[FakePasskey], object], reason: str) -> None:
    for attempt in attempts(FakePasskey(), change):
        assert any(part in refusal(attempt) for part in reason.split("|"))


@pytest.mark.security("PASS-02")
def test_an_answer_of_one_ceremony_is_not_one_of_the_other() -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    fake.client_data = {"type": "webauthn.create"}
    assert "client data type" in refusal(lambda: asserted(fake.get(REQUEST), passkey))

    fake.client_data = {"type": "webauthn.get"}
    assert "client data type" in refusal(lambda: registered(fake.create(CREATION)))


@pytest.mark.security("PASS-02")
def test_a_passkey_of_another_domain_is_refused() -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    fake.rp_id = "attacker.example"

    assert "RP ID" in refusal(lambda: asserted(fake.get(REQUEST), passkey))
    assert "RP ID" in refusal(lambda: registered(fake.create({**CREATION, "rp": {"id": "attacker.example"}})))


@pytest.mark.security("PASS-04")
@pytest.mark.parametrize(
    "members",
    [
        {"crossOrigin": True},
        {"crossOrigin": "false"},
        {"crossOrigin": None},
        {"crossOrigin": True, "topOrigin": "https://attacker.example"},
        {"topOrigin": "https://attacker.example"},
        {"topOrigin": ORIGIN},
        {"topOrigin": None},
    ],
)
def test_a_ceremony_in_a_frame_of_another_site_is_refused(members: dict[str, Any]) -> None:
    for attempt in attempts(FakePasskey(), client_data(**members)):
        assert "cross-origin" in (reason := refusal(attempt)) or "top origin" in reason


def test_a_browser_need_not_say_that_a_ceremony_is_not_cross_origin() -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    plain = {"type": "webauthn.get", "challenge": bytes_to_base64url(CHALLENGE), "origin": ORIGIN}
    fake._client_data = lambda *_: json.dumps(plain).encode()  # type: ignore[method-assign]

    assert asserted(fake.get(REQUEST), passkey)


@pytest.mark.security("PASS-02")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"type": "webauthn.get"',
        b'{"type":"webauthn.get","type":"webauthn.get","challenge":"%s","origin":"https://example.com"}',
    ],
)
def test_client_data_that_two_parsers_could_read_in_two_ways_is_refused(text: bytes) -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    sent = text.replace(b"%s", bytes_to_base64url(CHALLENGE).encode())
    fake._client_data = lambda *_: sent  # type: ignore[method-assign]

    assert refusal(lambda: asserted(fake.get(REQUEST), passkey))


# One thing that is wrong in a use


@pytest.mark.security("PASS-02")
@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
@pytest.mark.parametrize("member", ["signature", "authenticatorData", "clientDataJSON"])
def test_one_changed_byte_makes_a_signature_wrong(algorithm: int, member: str) -> None:
    fake = FakePasskey(algorithm=algorithm, client_data={"z": "0"})
    passkey = stored(fake)
    last = {"signature": -1, "authenticatorData": -1, "clientDataJSON": -3}[member]  # of the counter, or "0"

    def flip(data: bytes) -> bytes:
        return data[:last] + bytes([data[last] ^ 1]) + data[len(data) + last + 1 :]

    assert "signature" in refusal(lambda: asserted(changed(fake.get(REQUEST), member, in_bytes(flip)), passkey))


@pytest.mark.security("PASS-02")
def test_a_signature_of_another_passkey_is_refused() -> None:
    fake, passkey = FakePasskey(), stored(FakePasskey())
    fake.create(CREATION)
    fake.credential_id = passkey.credential_id

    assert "signature" in refusal(lambda: asserted(fake.get(REQUEST), passkey))


def test_an_unknown_passkey_is_refused_after_its_signature_was_verified() -> None:
    fake = FakePasskey()
    fake.create(CREATION)

    assert "signature" in refusal(lambda: asserted(fake.get(REQUEST), None))


def test_a_passkey_answers_for_itself_only() -> None:
    fake = FakePasskey()
    passkey = stored(fake)._replace(credential_id=b"another one")

    assert "no such passkey" in refusal(lambda: asserted(fake.get(REQUEST), passkey))


@pytest.mark.security("PASS-03")
def test_a_login_without_a_password_needs_a_verified_user() -> None:
    fake = FakePasskey(is_user_verified=False)
    passkey = stored(fake)

    assert "verification is required" in refusal(lambda: asserted(fake.get(REQUEST), passkey))


@pytest.mark.security("PASS-05")
@pytest.mark.parametrize(
    "handle",
    [b"", b"ann", HANDLE[:-1], HANDLE + b"\0", bytes(32)],
    ids=["none", "another", "shorter", "longer", "zeros"],
)
@pytest.mark.parametrize("require_handle", [True, False])
def test_a_user_handle_must_be_that_of_the_owner(handle: bytes, require_handle: bool) -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    fake.user_handle = handle

    assert "handle" in refusal(lambda: asserted(fake.get(REQUEST), passkey, require_handle=require_handle))


@pytest.mark.security("PASS-05")
def test_a_login_without_a_name_needs_a_user_handle() -> None:
    fake = FakePasskey(is_resident=False)
    passkey = stored(fake)

    assert "handle" in refusal(lambda: asserted(fake.get(REQUEST), passkey))


@pytest.mark.security("PASS-08")
@pytest.mark.parametrize(("before", "now"), [(5, 5), (5, 4), (5, 0), (1, 1), (2**32 - 1, 1)])
def test_a_counter_that_does_not_rise_is_refused_as_a_clone(before: int, now: int) -> None:
    fake = FakePasskey(count_by=0)
    passkey = stored(fake)._replace(sign_count=before)
    fake.sign_count = now

    with pytest.raises(ClonedPasskeyError):
        asserted(fake.get(REQUEST), passkey)


@pytest.mark.security("PASS-08")
@pytest.mark.parametrize(("before", "now"), [(0, 0), (0, 1), (5, 6), (5, 500), (0, 2**32 - 1)])
def test_a_counter_that_rises_or_stays_zero_for_ever_is_accepted(before: int, now: int) -> None:
    fake = FakePasskey(count_by=0)
    passkey = stored(fake)._replace(sign_count=before)
    fake.sign_count = now

    assert asserted(fake.get(REQUEST), passkey).sign_count == now


@pytest.mark.security("PASS-08")
def test_an_answer_that_is_wrong_in_another_way_says_nothing_about_a_clone() -> None:
    fake = FakePasskey(count_by=0)
    passkey = stored(fake)._replace(sign_count=5)
    credential = fake.get(REQUEST)

    assert "signature" in refusal(lambda: asserted(changed(credential, "signature", lambda _: OTHER), passkey))
    assert "handle" in refusal(lambda: asserted(credential, passkey._replace(handle=bytes(32))))


@pytest.mark.security("PASS-09")
@pytest.mark.parametrize("eligible", [True, False])
def test_the_backup_eligibility_never_changes(eligible: bool) -> None:
    fake = FakePasskey(backup_eligible=eligible)
    passkey = stored(fake)
    fake.backup_eligible = not eligible

    assert "eligibility" in refusal(lambda: asserted(fake.get(REQUEST), passkey))


@pytest.mark.security("PASS-09")
def test_whether_a_passkey_is_backed_up_follows_the_authenticator() -> None:
    fake = FakePasskey(backup_eligible=True)
    passkey = stored(fake)

    assert asserted(fake.get(REQUEST), passkey).backed_up is False
    fake.backed_up = True
    assert asserted(fake.get(REQUEST), passkey).backed_up is True


@pytest.mark.security("PASS-09")
def test_a_passkey_that_cannot_be_backed_up_is_not_backed_up() -> None:
    for attempt in attempts(FakePasskey(), lambda fake: setattr(fake, "backed_up", True)):
        assert "backed up" in refusal(attempt)


# One thing that is wrong in a registration


@pytest.mark.security("PASS-11")
@pytest.mark.parametrize(
    "change",
    [
        {"fmt": "fido-u2f", "attStmt": {"sig": b"1", "x5c": [b"1"]}},
        {"fmt": "packed", "attStmt": {"alg": -7, "sig": b"1", "x5c": [b"1"]}},
        {"fmt": "packed", "attStmt": {"alg": -7, "sig": b"1", "x5c": []}},
        {"fmt": "packed", "attStmt": {"alg": -7, "sig": b"1", "ecdaaKeyId": b"1"}},
        {"fmt": "packed", "attStmt": {}},
        {"fmt": "none", "attStmt": {"x5c": [b"1"]}},
        {"fmt": "none", "attStmt": {"unknown": 1}},
        {"fmt": "none", "attStmt": []},
        {"fmt": "none", "attStmt": None},
        {"fmt": "tpm"},
        {"fmt": "apple"},
        {"fmt": "android-key"},
        {"fmt": "android-safetynet"},
        {"fmt": "unknown"},
        {"fmt": None},
        {"fmt": ["none"]},
    ],
)
def test_an_attestation_with_certificates_or_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    credential = FakePasskey().create(CREATION)
    sent = changed(credential, "attestationObject", in_cbor(lambda attestation: attestation.update(change)))

    assert "attestation" in refusal(lambda: registered(sent))


@pytest.mark.security("PASS-11")
def test_an_attestation_of_the_passkey_itself_must_be_signed_by_it() -> None:
    credential = FakePasskey(attestation="packed").create(CREATION)

    def sign_by_another(attestation: dict[str, Any]) -> None:
        other = FakePasskey(attestation="packed").create(CREATION)["response"]["attestationObject"]
        attestation["attStmt"] = cbor2.loads(base64.urlsafe_b64decode(other + "=="))["attStmt"]

    sent = changed(credential, "attestationObject", in_cbor(sign_by_another))

    assert "signature" in refusal(lambda: registered(sent))


P256 = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
X, Y = P256.x.to_bytes(32), P256.y.to_bytes(32)


@pytest.mark.security("PASS-11")
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ({1: 2, 3: -35, -1: 2, -2: X, -3: Y}, "alg"),
        ({1: 2, 3: -36, -1: 3, -2: X, -3: Y}, "alg"),
        ({1: 2, 3: -257, -1: 1, -2: X, -3: Y}, "not offered"),
        ({1: 2, 3: -7, -1: 2, -2: X, -3: Y}, "not offered"),
        ({1: 2, 3: -7, -1: 1, -2: X + b"\0", -3: Y}, "not offered"),
        ({1: 2, 3: -7, -1: 1, -2: X, -3: Y, 4: 1}, "not offered"),
        ({1: 2, 3: -7, -1: 1, -2: X, -3: X}, "curve"),
        ({1: 1, 3: -7, -1: 6, -2: X}, "not offered"),
        ({1: 1, 3: -8, -1: 7, -2: X}, "not offered"),
        ({1: 3, 3: -65535, -1: bytes(256), -2: b"\x01\x00\x01"}, "alg"),
        ({1: 3, 3: -257, -1: b"\xff" * 255, -2: b"\x01\x00\x01"}, "not offered"),
        ({1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\x01"}, "not offered"),
        ({1: 3, 3: -257, -1: b"\xff" * 513, -2: b"\x01\x00\x01"}, "not offered"),
        ({1: 2, 3: -7, -1: 1, -2: X}, "KeyError|-3"),
        ({}, "KEY|KTY|1"),
        (4, "not offered"),
    ],
)
def test_a_key_of_an_algorithm_that_was_not_offered_is_refused(key: Any, reason: str) -> None:
    credential = with_key(FakePasskey().create(CREATION), key)

    assert any(part in refusal(lambda: registered(credential)) for part in reason.split("|"))


def test_the_id_of_a_registration_is_the_one_that_the_authenticator_made() -> None:
    credential = FakePasskey().create(CREATION)

    assert "ids differ" in refusal(lambda: registered({**credential, "id": OTHER, "rawId": OTHER}))


# What is not a credential


def each_member(fake: FakePasskey) -> Iterator[tuple[str, Change]]:
    """Return what to do with each member that a use of a passkey has."""
    for value in (None, 5, True, "", "=", "!", "a b", "AA==", "é", [], {}, ["AA"]):
        for member in ("id", "rawId", "type", "response"):
            yield f"{member}={value!r}", lambda sent, member=member, value=value: sent.update({member: value})
        for member in ("clientDataJSON", "authenticatorData", "signature"):
            yield (
                f"{member}={value!r}",
                lambda sent, member=member, value=value: sent["response"].update({member: value}),
            )


MEMBERS = dict(each_member(FakePasskey()))


@pytest.mark.security("PASS-14")
@pytest.mark.parametrize("name", MEMBERS)
def test_a_use_with_one_odd_member_is_refused(name: str) -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    credential = json.loads(json.dumps(fake.get(REQUEST)))
    MEMBERS[name](credential)

    assert refusal(lambda: asserted(credential, passkey))


@pytest.mark.security("PASS-14")
@pytest.mark.parametrize("addition", ["=", "!", " ", "\n"])
@pytest.mark.parametrize("member", ["id", "clientDataJSON", "authenticatorData", "signature", "userHandle"])
def test_base64url_has_one_spelling(member: str, addition: str) -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    credential = fake.get(REQUEST)
    if member == "id":
        sent = {**credential, "id": credential["id"] + addition, "rawId": credential["id"] + addition}
    else:
        sent = changed(credential, member, lambda text: text + addition)

    assert "base64url" in refusal(lambda: asserted(sent, passkey))


@pytest.mark.security("PASS-14")
def test_an_id_may_have_1_to_1023_bytes() -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    for size, is_accepted in ((0, False), (1, True), (1023, True), (1024, False)):
        fake.credential_id = b"i" * size
        attempt = partial(asserted, fake.get(REQUEST), passkey._replace(credential_id=b"i" * size))
        assert attempt() if is_accepted else "length" in refusal(attempt)


@pytest.mark.security("PASS-14")
def test_a_credential_of_more_than_16_kilobytes_is_refused() -> None:
    fake = FakePasskey()
    passkey = stored(fake)
    credential = fake.get(REQUEST)
    room = ceremonies.MAXIMUM_SIZE - len(json.dumps({**credential, "more": ""}))

    assert asserted({**credential, "more": "x" * room}, passkey)
    assert "too large" in refusal(lambda: asserted({**credential, "more": "x" * (room + 1)}, passkey))


TEXT = st.text(max_size=40) | st.binary(max_size=60).map(bytes_to_base64url)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
RESPONSE = st.dictionaries(
    st.sampled_from(["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]), ANY_JSON
)
LIKE_A_CREDENTIAL = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("AA") | ANY_JSON,
        "rawId": st.just("AA") | ANY_JSON,
        "type": st.just("public-key") | ANY_JSON,
        "response": RESPONSE | ANY_JSON,
        "clientExtensionResults": ANY_JSON,
    },
)
KNOWN = FakePasskey()
KNOWN_PASSKEY = stored(KNOWN)


@pytest.mark.security("PASS-14")
@given(credential=ANY_JSON | LIKE_A_CREDENTIAL)
def test_any_json_is_refused_in_one_way(credential: Any) -> None:
    assert refusal(lambda: registered(credential))
    assert refusal(lambda: asserted(credential, KNOWN_PASSKEY))
    assert refusal(lambda: asserted(credential, None))


@pytest.mark.security("PASS-14")
@given(
    member=st.sampled_from(["clientDataJSON", "attestationObject"]),
    position=st.integers(0, 10**6),
    inserted=st.binary(max_size=8),
    removed=st.integers(0, 8),
)
def test_a_registration_with_changed_bytes_is_refused_or_registers_the_same_passkey(
    member: str, position: int, inserted: bytes, removed: int
) -> None:
    credential = FakePasskey(attestation="packed").create(CREATION)

    def splice(data: bytes) -> bytes:
        start = position % len(data)
        return data[:start] + inserted + data[start + removed :]

    sent = changed(credential, member, in_bytes(splice))
    try:
        new = registered(sent)
    except InvalidPasskeyError:
        return
    assert new == registered(credential)  # such as a number that CBOR writes in two ways


@pytest.mark.security("PASS-14")
@given(
    member=st.sampled_from(["clientDataJSON", "authenticatorData"]),
    position=st.integers(0, 10**6),
    inserted=st.binary(max_size=8),
    removed=st.integers(0, 8),
)
def test_a_use_with_changed_bytes_is_refused(member: str, position: int, inserted: bytes, removed: int) -> None:
    credential = KNOWN.get(REQUEST)

    def splice(data: bytes) -> bytes:
        start = position % len(data)
        return data[:start] + inserted + data[start + removed :]

    sent = changed(credential, member, in_bytes(splice))
    if sent != credential:
        assert refusal(lambda: asserted(sent, KNOWN_PASSKEY))


def test_the_fake_passkey_signs_as_the_standard_says() -> None:
    """Without the library: the signature is over the authenticator data and the hash of the client data."""
    fake = FakePasskey(sign_count=6)
    public_key = cbor2.loads(stored(fake).public_key)
    response = fake.get(REQUEST)["response"]
    data, sent, signature = (
        base64.urlsafe_b64decode(response[name] + "==")
        for name in ("authenticatorData", "clientDataJSON", "signature")
    )

    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(public_key[-2]), int.from_bytes(public_key[-3]), ec.SECP256R1()
    )
    numbers.public_key().verify(signature, data + hashlib.sha256(sent).digest(), ec.ECDSA(SHA256()))
    assert data == hashlib.sha256(b"example.com").digest() + b"\x05" + (7).to_bytes(4)
    assert json.loads(sent)["challenge"] == bytes_to_base64url(CHALLENGE)
