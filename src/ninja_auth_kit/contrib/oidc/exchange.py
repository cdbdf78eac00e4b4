"""From an authorization code, or an ID token, to a proved identity. No transaction is open meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.contrib.oidc import http_client
from ninja_auth_kit.contrib.oidc.claims import ProvedIdentity, identity_of, usable_email
from ninja_auth_kit.contrib.oidc.exceptions import ProviderRefusedError, ProviderUnavailableError
from ninja_auth_kit.contrib.oidc.flows import Flow
from ninja_auth_kit.contrib.oidc.http_client import Deadline, ProviderRequest, logger
from ninja_auth_kit.contrib.oidc.metadata import Metadata, keys_of, metadata_of
from ninja_auth_kit.contrib.oidc.providers import Provider
from ninja_auth_kit.strict_json import parse
from ninja_auth_kit.tokens.id_tokens import (
    Expected,
    InvalidIdTokenError,
    parse_id_token,
    sign_es256,
    verify_id_token,
)

_LARGEST_ID = 2**63
_APPLE_SECRET_SECONDS = 300


@dataclass(frozen=True)
class CallbackParameters:
    """What the browser brought back. `issuer` is None if the provider has sent none (RFC 9207)."""

    code: str
    state: str
    issuer: str | None

    def __repr__(self) -> str:
        return "<CallbackParameters>"


@sensitive_variables()
def exchange_code(provider: Provider, flow: Flow, parameters: CallbackParameters) -> ProvedIdentity:
    """Return the identity that a provider proves for an authorization code.

    Args:
        provider: the provider of the flow.
        flow: a web flow.
        parameters: what the browser brought back, as received.

    Raises:
        ProviderRefusedError: the parameters are of another flow, or the provider proves nothing.
        ProviderUnavailableError: it cannot be reached.
    """
    if not flow.is_state(parameters.state):
        raise ProviderRefusedError("wrong_state")
    deadline = Deadline()
    metadata = metadata_of(provider, deadline)
    _check_issuer(provider, metadata, parameters.issuer)
    answer = _tokens(provider, metadata, flow, parameters.code, deadline)
    if not provider.is_openid:
        return _github_user(provider, answer.get("access_token"), deadline)
    audience = (provider.client_id,)
    issuer, claims = _verified(provider, flow, answer.get("id_token"), audience=audience, deadline=deadline)
    if not provider.preset and not {"email", "email_verified"} <= claims.keys():
        claims = {**claims, **_user_info(provider, metadata, answer.get("access_token"), claims, deadline)}
    return identity_of(provider, claims, issuer=issuer)


@sensitive_variables()
def check_id_token(provider: Provider, flow: Flow, id_token: str) -> ProvedIdentity:
    """Return the identity that an ID token of a native app proves. Its access token would prove nothing.

    Raises:
        ProviderRefusedError: it proves nothing.
        ProviderUnavailableError: the keys of the provider cannot be read.
    """
    issuer, claims = _verified(provider, flow, id_token, audience=provider.client_ids, deadline=Deadline())
    return identity_of(provider, claims, issuer=issuer)


def _check_issuer(provider: Provider, metadata: Metadata, issuer: str | None) -> None:
    """Refuse the answer of another provider (RFC 9207 section 2.4), which would get the code (mix-up attack)."""
    if issuer is None and not metadata.promises_issuer:
        return
    if issuer is None or not (issuer == provider.metadata_issuer or provider.is_issuer(issuer)):
        raise ProviderRefusedError("wrong_issuer")


@sensitive_variables()
def _tokens(provider: Provider, metadata: Metadata, flow: Flow, code: str, deadline: Deadline) -> Mapping[str, Any]:
    """Return the answer of the token endpoint (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": flow.sent_redirect_uri,
        "code_verifier": flow.verifier,
    }
    secret, method = client_secret(provider), _auth_method(provider, metadata)
    credentials = (provider.client_id, secret) if secret and method == "client_secret_basic" else None
    if credentials is None:
        fields["client_id"] = provider.client_id
        if secret and method == "client_secret_post":
            fields["client_secret"] = secret
    request = ProviderRequest(metadata.token_endpoint, fields, credentials, ca_file=provider.ca_file)
    answer = _json(http_client.send(request, deadline), provider)
    if not isinstance(answer.value, dict) or answer.status != 200 or "error" in answer.value:
        _log_refusal(provider, answer)
        raise ProviderRefusedError("code_refused")
    return answer.value


def _log_refusal(provider: Provider, answer: "_Json") -> None:
    """Log an error that only the settings of the project can cause (RFC 6749 section 5.2)."""
    error = answer.value.get("error") if isinstance(answer.value, dict) else None
    if error in ("invalid_client", "unauthorized_client", "incorrect_client_credentials", "redirect_uri_mismatch"):
        logger.error("The provider %s refuses the configured client: %s.", provider.id, error)


@dataclass(frozen=True)
class _Json:
    status: int
    value: Any


def _json(answer: http_client.ProviderAnswer, provider: Provider) -> _Json:
    try:
        return _Json(answer.status, parse(answer.body))
    except ValueError:
        if answer.status != 200:
            return _Json(answer.status, None)
        logger.error("The provider %s did not answer with JSON.", provider.id)
        raise ProviderUnavailableError from None


def _auth_method(provider: Provider, metadata: Metadata) -> str:
    """Return how the client authenticates: as configured, or by the first method of two that the provider has."""
    if provider.auth_method is not None:
        return provider.auth_method
    known = metadata.auth_methods
    return "client_secret_post" if known and "client_secret_basic" not in known else "client_secret_basic"


@sensitive_variables()
def client_secret(provider: Provider) -> str | None:
    """Return the secret of a provider, or None for a public client. Apple requires a JWT with a short life."""
    if not provider.private_key:
        return provider.client_secret
    now = int(timezone.now().timestamp())
    claims = {
        "iss": provider.team_id,
        "iat": now,
        "exp": now + _APPLE_SECRET_SECONDS,
        "aud": provider.issuer,
        "sub": provider.client_id,
    }
    try:
        return sign_es256(private_key=provider.private_key, key_id=provider.key_id, claims=claims)
    except ValueError:
        logger.error("The private_key of the provider %s cannot be used.", provider.id)
        raise ProviderUnavailableError from None


@sensitive_variables()
def _verified(
    provider: Provider, flow: Flow, id_token: Any, *, audience: tuple[str, ...], deadline: Deadline
) -> tuple[str, Mapping[str, Any]]:
    """Return the issuer and the claims of an ID token."""
    expected = Expected(
        issuer_of=provider.issuer_of,
        audience=audience,
        client_ids=provider.client_ids,
        nonce=flow.nonce,
        authenticated_since=flow.issued_at if flow.needs_new_authentication else None,
    )
    try:
        token = parse_id_token(id_token if isinstance(id_token, str) else "")
        keys = keys_of(provider, deadline, kid=token.kid)
        issuer = verify_id_token(token, keys=keys, algorithms=provider.algorithms, expected=expected)
    except InvalidIdTokenError as error:
        raise ProviderRefusedError(error.reason) from None
    return issuer, token.claims


@sensitive_variables()
def _user_info(
    provider: Provider, metadata: Metadata, token: Any, claims: Mapping[str, Any], deadline: Deadline
) -> Mapping[str, Any]:
    """Return the email address of the user of an ID token, and whether it is verified, as the provider says elsewhere.

    The standard has them at the UserInfo endpoint (OpenID Connect Core 1.0 section 5.4), and some providers follow it.
    The ID token remains the proof: what is said of another subject is not used (section 5.3.2).
    """
    if metadata.userinfo_endpoint is None or not _is_bearer(token):
        return {}
    request = ProviderRequest(metadata.userinfo_endpoint, bearer=token, ca_file=provider.ca_file)
    answer = http_client.send(request, deadline)
    try:
        said = parse(answer.body)
    except ValueError:  # such as a signed answer
        said = None
    if answer.status != 200 or not isinstance(said, dict) or said.get("sub") != claims["sub"] or "email" not in said:
        return {}
    return {"email": said["email"], "email_verified": said.get("email_verified")}


def _is_bearer(token: Any) -> bool:
    return isinstance(token, str) and bool(token) and token.isascii() and token.isprintable()


@sensitive_variables()
def _github_user(provider: Provider, token: Any, deadline: Deadline) -> ProvedIdentity:
    """Return the user of an access token of GitHub, which issues no ID tokens. The token is dropped.

    The id is the subject: a login name can be taken by somebody else.
    """
    if not _is_bearer(token):
        raise ProviderRefusedError("code_refused")
    user, emails = (
        _json(http_client.send(_get(provider, path, token), deadline), provider).value
        for path in ("/user", "/user/emails")
    )
    key = user.get("id") if isinstance(user, dict) else None
    if not isinstance(key, int) or isinstance(key, bool) or not 0 < key < _LARGEST_ID:
        raise ProviderRefusedError("malformed_id_token")
    found = [one for one in emails if _is_primary(one)] if isinstance(emails, list) else []
    email = usable_email(found[0].get("email")) if found else ""
    return ProvedIdentity(provider.issuer, str(key), email, is_email_verified=bool(email))


def _is_primary(row: Any) -> bool:
    return isinstance(row, dict) and row.get("primary") is True and row.get("verified") is True


@sensitive_variables()
def _get(provider: Provider, path: str, token: str) -> ProviderRequest:
    return ProviderRequest(f"{provider.api}{path}", bearer=token, ca_file=provider.ca_file)
