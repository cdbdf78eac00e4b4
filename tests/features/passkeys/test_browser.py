"""The ceremonies against Chromium and its virtual authenticators: options in, `credential.toJSON()` out."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Error, Page

from ninja_auth_kit.contrib.passkeys import ceremonies
from ninja_auth_kit.contrib.passkeys.ceremonies import ClonedPasskeyError, InvalidPasskeyError
from ninja_auth_kit.contrib.passkeys.structures import Assertion, Descriptor, NewPasskey, RelyingParty, StoredPasskey
from tests.browser import chromium

__all__ = ["chromium"]

pytestmark = pytest.mark.browser

ORIGIN = "http://localhost"  # a secure context without TLS
PARTY = RelyingParty("localhost", "Example Shop", (ORIGIN,))
HANDLE = secrets.token_bytes(32)
CREATE = """async options => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return (await navigator.credentials.create({publicKey})).toJSON();
}"""
GET = """async options => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return (await navigator.credentials.get({publicKey})).toJSON();
}"""
INTERNAL = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
USB = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": False}
SYNCED = {**INTERNAL, "defaultBackupEligibility": True, "defaultBackupState": True}
U2F = {"protocol": "u2f", "transport": "usb"}


class Device:
    """A page and one virtual authenticator."""

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self.page, self.cdp, self.id = page, cdp, ""

    def plug_in(self, options: dict[str, Any]) -> None:
        added = self.cdp.send(
            "WebAuthn.addVirtualAuthenticator",
            {"options": {"automaticPresenceSimulation": True, "isUserVerified": True, **options}},
        )
        self.id = added["authenticatorId"]

    def register(self, exclude: list[Descriptor] | None = None) -> NewPasskey:
        challenge = secrets.token_bytes(32)
        options = ceremonies.registration_options(
            PARTY, challenge=challenge, handle=HANDLE, user_name="ann@example.com", exclude=exclude or []
        )
        return ceremonies.verify_registration(self.page.evaluate(CREATE, options), party=PARTY, challenge=challenge)

    def use(self, passkey: StoredPasskey, allow: list[Descriptor] | None = None) -> Assertion:
        """Log in without a name, or with `allow` as a second factor."""
        challenge, is_alone = secrets.token_bytes(32), allow is None
        options = ceremonies.authentication_options(
            PARTY, challenge=challenge, allow=allow, require_verification=is_alone
        )
        return ceremonies.verify_assertion(
            self.page.evaluate(GET, options),
            passkey,
            party=PARTY,
            challenge=challenge,
            require_verification=is_alone,
            require_handle=is_alone,
        )

    def set_counter(self, count: int) -> None:
        """Put the one passkey of the authenticator back with another counter."""
        name = {"authenticatorId": self.id}
        (credential,) = self.cdp.send("WebAuthn.getCredentials", name)["credentials"]
        self.cdp.send("WebAuthn.removeCredential", {**name, "credentialId": credential["credentialId"]})
        self.cdp.send("WebAuthn.addCredential", {**name, "credential": {**credential, "signCount": count}})


@pytest.fixture
def device(chromium: Browser) -> Iterator[Device]:
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(content_type="text/html", body="<title>Passkeys</title>"))
    page.goto(ORIGIN)
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable", {"enableUI": False})
    yield Device(page, cdp)
    context.close()


def stored(new: NewPasskey) -> StoredPasskey:
    return StoredPasskey(new.credential_id, new.public_key, new.sign_count, new.backup_eligible, HANDLE)


@pytest.mark.security("PASS-01")
def test_a_passkey_in_the_device_logs_in_without_a_name(device: Device) -> None:
    device.plug_in(INTERNAL)

    new = device.register()
    used = device.use(stored(new))

    assert (new.is_discoverable, new.is_user_verified, new.transports) == (True, True, ("internal",))
    assert (new.backup_eligible, new.backed_up) == (False, False)
    assert used.is_user_verified
    assert used.sign_count > new.sign_count


@pytest.mark.security("PASS-01")
def test_a_synced_passkey_says_that_it_is_backed_up(device: Device) -> None:
    device.plug_in(SYNCED)

    new = device.register()

    assert (new.backup_eligible, new.backed_up) == (True, True)
    assert device.use(stored(new)).backed_up


@pytest.mark.security("PASS-01")
@pytest.mark.parametrize("kind", [USB, U2F])
def test_a_key_without_user_verification_is_a_second_factor(device: Device, kind: dict[str, Any]) -> None:
    device.plug_in(kind)

    new = device.register()
    used = device.use(stored(new), [Descriptor(new.credential_id, new.transports)])

    assert (new.is_discoverable, new.is_user_verified, new.transports) == (False, False, ("usb",))
    assert not used.is_user_verified


@pytest.mark.security("PASS-10")
def test_a_device_does_not_register_twice(device: Device) -> None:
    device.plug_in(INTERNAL)
    new = device.register()

    with pytest.raises(Error, match="InvalidStateError"):
        device.register([Descriptor(new.credential_id, new.transports)])


@pytest.mark.security("PASS-08")
def test_a_counter_that_was_set_back_is_a_clone(device: Device) -> None:
    device.plug_in(INTERNAL)
    passkey = stored(device.register())
    used = device.use(passkey)
    device.set_counter(0)

    with pytest.raises(ClonedPasskeyError):
        device.use(passkey._replace(sign_count=used.sign_count))


@pytest.mark.security("PASS-04")
def test_a_passkey_used_in_a_frame_of_another_site_is_refused(device: Device) -> None:
    device.plug_in(INTERNAL)
    passkey = stored(device.register())
    device.page.goto("http://other.localhost")
    device.page.evaluate(
        """url => new Promise(done => {
            const frame = document.createElement("iframe");
            Object.assign(frame, {src: url, onload: done, allow: "publickey-credentials-get *"});
            document.body.append(frame);
        })""",
        ORIGIN,
    )
    frame = device.page.frames[1]
    challenge = secrets.token_bytes(32)
    options = ceremonies.authentication_options(PARTY, challenge=challenge, require_verification=True)

    credential = frame.evaluate(GET, options)

    with pytest.raises(InvalidPasskeyError, match="cross-origin"):
        ceremonies.verify_assertion(
            credential, passkey, party=PARTY, challenge=challenge, require_verification=True, require_handle=True
        )
