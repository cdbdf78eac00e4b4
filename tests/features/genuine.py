"""What the attacks on every operation need to know of the optional apps: valid values, and each answer of success."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.test import RequestFactory
from django.utils import timezone

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.api_keys.testing import api_key
from ninja_auth_kit.contrib.email_code.models import LoginCode, key_of
from ninja_auth_kit.contrib.email_code.testing import emailed_code
from ninja_auth_kit.contrib.factors.models import Factor, RememberedDevice
from ninja_auth_kit.contrib.factors.pending import ask_for_factor
from ninja_auth_kit.contrib.factors.recovery_codes import renew_codes
from ninja_auth_kit.contrib.oidc import services as oidc
from ninja_auth_kit.contrib.oidc.flows import FlowPurpose
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.contrib.passkeys import services as passkeys
from ninja_auth_kit.contrib.passkeys.testing import FakePasskey
from ninja_auth_kit.contrib.totp import codes, services
from ninja_auth_kit.contrib.totp.models import TotpSecret, sealed_secret
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.internal.finish_login import PendingLogin, Proof
from ninja_auth_kit.tokens import TicketPurpose, issue_ticket, read_ticket
from ninja_auth_kit.tokens.digests import digest
from tests.conftest import PASSWORD
from tests.features.conftest import Authenticator
from tests.features.oidc.conftest import ISSUER, OWN, REDIRECT_URI, link

SITE = "http://localhost:8000"  # of the settings
SCOPE = "notes:read"  # of the settings
CLIENT = ClientInfo(ip_address="127.0.0.1")


class ProviderWithReusableCodes(FakeProvider):
    """The fake provider, whose codes can be used again: each attack is rolled back, and must not use one up."""

    def _redeem(self, request: Any, fields: Mapping[str, str]) -> tuple[int, Any]:
        codes = dict(self._codes)
        answer = super()._redeem(request, fields)
        self._codes = codes
        return answer


# It answers while a test of `tests.attacks` runs, with these settings. Only a trusted provider registers accounts.
provider = ProviderWithReusableCodes("example")
OIDC = {"PROVIDERS": {provider.id: {**OWN, "email_trusted": True}}, "REDIRECT_URIS": [REDIRECT_URI]}


def values_of(user: Any, operation: str, start: Callable[..., Any]) -> dict[str, Any]:
    """Return valid values for the members and the path of an operation.

    Args:
        user: the user.
        operation: its id in the OpenAPI document.
        start: starts a session of a user with a proof.
    """
    values: dict[str, Any] = {"name": "my phone", "device_token": "nakd_unknown", "remember_device": True}
    Factor.objects.filter(user=user.pk).delete()  # of an operation before
    if "api_key" in operation:
        api_key(user, scopes=[SCOPE])
        newest = ApiKey.objects.valid(user)[0]
        return values | {"scopes": [SCOPE], "expires_in": 3600, "key_id": str(newest.pk)}
    if operation == "auth_confirm_totp":
        begun = services.enrol(user=user, name="")
        return values | {"factor_id": str(begun.id), "code": Authenticator(begun.secret).code(steps=1)}
    if operation == "auth_forget_device":
        return values | {"device_id": str(_remembered(user).pk)}
    if operation in {"auth_login_by_email_code", "auth_sign_up_by_email_code"}:
        return values | _with_email_code(user)
    if "passkey" in operation:
        return values | _with_passkey(user, operation, start)
    if operation in _WITH_PROVIDER:
        return values | _with_provider(user, operation, start)
    if operation in _WITH_FACTOR:
        values |= _with_factor(user, by_recovery_code=operation.endswith("recovery_code"))
        values["access_token"] = start(user, Proof(frozenset({"pwd", "otp"}))).access_token
    return values


_WITH_FACTOR = {
    "auth_login_by_totp",
    "auth_login_by_recovery_code",
    "auth_step_up_by_totp",
    "auth_step_up_by_recovery_code",
    "auth_rename_factor",
    "auth_remove_factor",
    "auth_renew_recovery_codes",
}

_WITH_PROVIDER = {
    "auth_start_provider_flow",
    "auth_finish_provider_flow",
    "auth_finish_provider_flow_by_id_token",
    "auth_sign_up_by_provider",
    "auth_unlink_identity",
}


def _with_factor(user: Any, *, by_recovery_code: bool) -> dict[str, Any]:
    """Give a user an authenticator app, and return its id, the challenge of a pending login, and a code."""
    factor = Factor.objects.create(user=user, kind="totp", confirmed_at=timezone.now())
    secret = codes.new_secret()
    sealed = sealed_secret(secret, user_id=user.pk, factor_id=factor.pk)
    TotpSecret.objects.create(factor=factor, secret=sealed)
    recovery_code, *_ = renew_codes(user)
    return {
        "factor_id": str(factor.pk),
        "challenge_token": _pending(user).challenge_token,
        "code": recovery_code if by_recovery_code else Authenticator(codes.as_text(secret)).code(steps=1),
    }


def _pending(user: Any) -> PendingLogin:
    pending = ask_for_factor(user, Proof(frozenset({"pwd"})), client=CLIENT, device_token=None)
    assert isinstance(pending, PendingLogin)
    return pending


def _with_email_code(user: Any) -> dict[str, Any]:
    """Return valid values for the operations of email codes."""
    signup = issue_ticket(TicketPurpose.EMAIL_CODE_SIGNUP, {"email": "new@example.com"})
    challenge = issue_ticket(TicketPurpose.EMAIL_CODE, {"email": user.email})
    ticket = read_ticket(challenge, TicketPurpose.EMAIL_CODE)
    LoginCode.objects.store(
        ticket=key_of(ticket), user=user, email=user.email, code="WDJBMJHT", expires_at=ticket.expires_at
    )
    return {"challenge_token": challenge, "code": "wdjb-mjht", "signup_token": signup}


def _with_passkey(user: Any, operation: str, start: Callable[..., Any]) -> dict[str, Any]:
    """Return valid values for an operation of passkeys. The user has one, unless the operation adds the first."""
    pair, fake = start(user), FakePasskey(origin=SITE)
    session = UserSession.objects.load(pair.session_id)
    assert session is not None
    begun = passkeys.registration_options(session=session)
    credential = fake.create(begun.public_key)
    if operation == "auth_register_passkey":
        return _answered(begun, credential) | {"access_token": pair.access_token}
    enrolled = passkeys.register(
        session=session,
        challenge_token=begun.challenge_token,
        credential=credential,
        name="",
        request=RequestFactory().post("/"),
        client=CLIENT,
    )
    own = {"access_token": enrolled.tokens.access_token}
    if operation == "auth_login_by_passkey":
        begun = passkeys.login_options(challenge_token=None, client=CLIENT)
    elif operation == "auth_step_up_by_passkey":
        session = UserSession.objects.load(enrolled.tokens.session_id)
        assert session is not None
        begun = passkeys.step_up_options(session=session)
    elif operation == "auth_begin_passkey_login":
        return own | {"challenge_token": _pending(user).challenge_token}
    else:
        return own
    return own | _answered(begun, fake.get(begun.public_key))


def _with_provider(user: Any, operation: str, start: Callable[..., Any]) -> dict[str, Any]:
    """Return valid values for an operation of providers: a login by a code, and a link by an ID token."""
    Identity.objects.filter(user=user.pk).delete()  # of an operation before
    pair = start(user)
    values = {"access_token": pair.access_token, "provider": provider.id}
    if operation == "auth_start_provider_flow":
        return values | {"purpose": "link", "redirect_uri": REDIRECT_URI, "native": False}
    if operation == "auth_sign_up_by_provider":
        said = {"provider": provider.id, "issuer": ISSUER, "subject": "a-new-subject", "email": "new@example.com"}
        return values | {"signup_token": issue_ticket(TicketPurpose.PROVIDER_SIGNUP, said)}
    if operation == "auth_finish_provider_flow_by_id_token":
        begun = _begun(FlowPurpose.LINK, session=UserSession.objects.load(pair.session_id))
        return values | {"flow_token": begun.flow_token, "id_token": provider.id_token(begun.nonce)}
    identity = link(user)
    if operation == "auth_unlink_identity":
        return values | {"identity_id": str(identity.pk)}
    begun = _begun(FlowPurpose.LOGIN, redirect_uri=REDIRECT_URI)
    returned = provider.authorize(begun.authorization_url)
    return values | {"flow_token": begun.flow_token, "iss": ISSUER, **returned}


def _begun(purpose: FlowPurpose, *, redirect_uri: str | None = None, session: UserSession | None = None) -> Any:
    return oidc.start(
        provider_id=provider.id,
        purpose=purpose,
        redirect_uri=redirect_uri,
        callback_url=str,
        session=session,
        client=CLIENT,
    )


def _answered(begun: Any, credential: Any) -> dict[str, Any]:
    return {"challenge_token": begun.challenge_token, "credential": credential}


def _remembered(user: Any) -> RememberedDevice:
    device = RememberedDevice(
        user=user, digest=digest("device token", str(uuid4())), expires_at=timezone.now() + timedelta(days=1)
    )
    device.bind("")
    device.save()
    return device


def play(call: Callable[..., Any], kit: Callable[..., None], *, email: str, token: str) -> str:
    """See each success of the operations of the optional apps, and return the access token of a session without any.

    Args:
        call: sends a request with a valid access token, and requires a status.
        kit: changes settings.
        email: of a user.
        token: an access token of this user.
    """
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=1)}, SESSION_LIMIT=None)
    call("GET", "step-up", status=200, token=token)
    call("POST", "step-up/password", {"password": PASSWORD}, status=200, token=token)
    begun = call("POST", "factors/totp", {"name": "my phone"}, status=201, token=token)
    app, factor = Authenticator(begun["secret"]), {"factor_id": begun["id"]}
    confirm = "factors/totp/{factor_id}/confirm"
    confirmed = call("POST", confirm, {"code": app.code(steps=-1)}, status=200, token=token, **factor)

    def challenge() -> str:
        pending = call("POST", "login", {"email": email, "password": PASSWORD}, status=202)
        return str(pending["challenge_token"])

    by_code = {"challenge_token": challenge(), "code": confirmed["recovery_codes"][0]}
    call("POST", "login/recovery-code", by_code, status=200)
    by_app = {"challenge_token": challenge(), "code": app.code(), "remember_device": True}
    token = call("POST", "login/totp", by_app, status=200)["access_token"]
    call("POST", "step-up/totp", {"code": app.code(steps=1)}, status=200, token=token)
    call("POST", "step-up/recovery-code", {"code": confirmed["recovery_codes"][1]}, status=200, token=token)
    call("GET", "factors", status=200, token=token)
    call("PATCH", "factors/{factor_id}", {"name": "my watch"}, status=200, token=token, **factor)
    (device,) = call("GET", "devices", status=200, token=token)
    call("DELETE", "devices/{device_id}", status=204, token=token, device_id=device["id"])
    call("DELETE", "devices", status=204, token=token)
    call("POST", "factors/recovery-codes", status=200, token=token)
    fake = FakePasskey(origin=SITE)
    begun = call("POST", "factors/passkeys/options", status=200, token=token)
    added = call("POST", "factors/passkeys", _reply(begun, fake.create), status=201, token=token)
    token = added["tokens"]["access_token"]
    begun = call("POST", "step-up/passkey/options", status=200, token=token)
    call("POST", "step-up/passkey", _reply(begun, fake.get), status=200, token=token)
    begun = call("POST", "login/passkey/options", status=200)
    call("POST", "login/passkey", _reply(begun, fake.get), status=200)
    call("DELETE", "factors/{factor_id}", status=204, token=token, factor_id=added["factor"]["id"])
    call("DELETE", "factors/{factor_id}", status=204, token=token, **factor)
    key = call("POST", "api-keys", {"name": "backup", "scopes": [SCOPE]}, status=201, token=token)
    call("GET", "api-keys", status=200, token=token)
    call("DELETE", "api-keys/{key_id}", status=204, token=token, key_id=key["id"])
    asked = call("POST", "login/email-code/request", {"email": email}, status=202)
    by_code = {"challenge_token": asked["challenge_token"], "code": emailed_code()}
    call("POST", "login/email-code", by_code, status=200)
    asked = call("POST", "login/email-code/request", {"email": "other@example.com"}, status=202)
    by_code = {"challenge_token": asked["challenge_token"], "code": emailed_code()}
    signup = call("POST", "login/email-code", by_code, status=202)
    body = {"signup_token": signup["signup_token"], "username": "countess"}
    call("POST", "login/email-code/signup", body, status=200)
    _play_providers(call, token=token)
    return token


def _play_providers(call: Callable[..., Any], *, token: str) -> None:
    """See each success of the operations of providers."""

    def flow(purpose: str, *, native: bool, status: int, **claims: Any) -> Any:
        sent = {"provider": provider.id, "token": "" if purpose == "login" else token}
        way_back = {"native": True} if native else {"redirect_uri": REDIRECT_URI}
        begun = call("POST", "oidc/{provider}/start", {"purpose": purpose, **way_back}, status=200, **sent)
        if native:
            returned = {"id_token": provider.id_token(begun["nonce"], **claims)}
        else:
            returned = provider.authorize(begun["authorization_url"], **claims)
        path = f"oidc/{{provider}}/{'id-token' if native else 'finish'}"
        return call("POST", path, {"flow_token": begun["flow_token"], **returned}, status=status, **sent)

    call("GET", "oidc", status=200)
    for native in (False, True):
        identity = flow("link", native=native, status=201)
        flow("step_up", native=native, status=200)
        flow("login", native=native, status=200)
        call("GET", "identities", status=200, token=token)
        call("DELETE", "identities/{identity_id}", status=204, token=token, identity_id=identity["id"])
        signup = flow("login", native=native, status=202, subject="a-new-subject", email="third@example.com")
    body = {"signup_token": signup["signup_token"], "username": "duchess"}
    call("POST", "oidc/signup", body, status=200)


def _reply(begun: dict[str, Any], answer: Callable[[Any], Any]) -> dict[str, Any]:
    return {"challenge_token": begun["challenge_token"], "credential": answer(begun["public_key"])}
