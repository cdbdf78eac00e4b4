"""Login, links and step-ups by a provider: begin a flow, and finish it with what the provider has answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.exceptions import WrongFactorError
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.step_up import SteppedUp, counted_step_up, step_up
from ninja_auth_kit.contrib.oidc import signals
from ninja_auth_kit.contrib.oidc.claims import ProvedIdentity
from ninja_auth_kit.contrib.oidc.exceptions import (
    InvalidFlowError,
    InvalidSignupError,
    ProviderNotFoundError,
    ProviderRefusedError,
)
from ninja_auth_kit.contrib.oidc.exchange import CallbackParameters, check_id_token, exchange_code
from ninja_auth_kit.contrib.oidc.flows import Flow, FlowPurpose, begin_flow, read_flow
from ninja_auth_kit.contrib.oidc.http_client import Deadline
from ninja_auth_kit.contrib.oidc.identities import link_identity
from ninja_auth_kit.contrib.oidc.login import (
    ProviderLogin,
    RaceLostError,
    UsernameRequired,
    log_in,
    registers,
    start_account,
    use_identity,
)
from ninja_auth_kit.contrib.oidc.metadata import metadata_of
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.providers import Provider, find_provider, redirect_uris
from ninja_auth_kit.exceptions import (
    AuthKitError,
    FieldError,
    InvalidInputError,
    SessionEndedError,
    SessionLimitReachedError,
    ThrottledError,
)
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.services.internal.finish_login import PendingLogin
from ninja_auth_kit.services.internal.limits import ThrottleSubject, network_buckets, take_hits
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from ninja_auth_kit.services.internal.throttling import count_refused_token, count_request
from ninja_auth_kit.signals import login_failed
from ninja_auth_kit.tokens import InvalidTicketError, TicketPurpose, read_ticket
from ninja_auth_kit.tokens.tickets import LIFETIME

METHOD = "provider"  # of a step-up, in the words of the API

# What a flow ends with: a login, a link or a step-up.
Finished = TokenPair | PendingLogin | UsernameRequired | Identity | SteppedUp


@dataclass(frozen=True)
class Started:
    """A flow that was begun.

    Attributes:
        flow_token: what must come back with the answer of the provider.
        authorization_url: where the browser goes; None for a native app.
        nonce: what a native app passes to the provider; None for a web flow, whose address has it.
        expires_in: seconds.
    """

    flow_token: str = field(repr=False)
    authorization_url: str | None = field(repr=False)
    nonce: str | None = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class Caller:
    """Who finishes a flow.

    Attributes:
        session: that of the request with its level, or None if it has no access token.
        device_token: that of a remembered device, as received, or None.
        require_fresh: raises an error unless the user of the session was authenticated lately.
    """

    request: HttpRequest
    client: ClientInfo
    session: UserSession | None = None
    device_token: str | None = field(default=None, repr=False)
    require_fresh: Callable[[], None] = lambda: None


@sensitive_variables()
def start(
    *,
    provider_id: str,
    purpose: FlowPurpose,
    redirect_uri: str | None,
    callback_url: Callable[[str], str],
    session: UserSession | None,
    client: ClientInfo,
) -> Started:
    """Begin a flow.

    Args:
        provider_id: the id of the provider.
        purpose: what it is for.
        redirect_uri: one of `OIDC["REDIRECT_URIS"]` to the letter, with the id of the provider for `{provider}`; None
            for a native app.
        callback_url: returns the address of the kit's own callback for a provider, if it needs that.
        session: that of the request, if the purpose needs one.
        client: the client of the request.

    Raises:
        InvalidInputError: the redirect URI is not configured, or the provider has no ID tokens for native apps.
        ProviderNotFoundError: the provider does not exist.
        ProviderUnavailableError: its metadata cannot be read.
        ThrottledError: too many requests from this network.
        WrongFactorError: the user has a second factor, or the provider cannot confirm a step-up.
    """
    count_request(client)
    provider = find_provider(provider_id)
    if purpose is FlowPurpose.STEP_UP:
        _require_step_up(session, provider)
    if redirect_uri is None:
        _require_native(provider)
        token, flow = begin_flow(provider, purpose, redirect_uri=None, sent_redirect_uri="", session=session)
        return Started(token, None, flow.nonce, int(LIFETIME.total_seconds()))
    if redirect_uri not in redirect_uris(provider):
        fault = FieldError("redirect_uri", "redirect_uri_not_allowed", _("This address is not configured."))
        raise InvalidInputError(fault)
    metadata = metadata_of(provider, Deadline())
    sent = callback_url(provider.id) if provider.posts_form else redirect_uri
    token, flow = begin_flow(provider, purpose, redirect_uri=redirect_uri, sent_redirect_uri=sent, session=session)
    return Started(token, flow.authorization_url(metadata), None, int(LIFETIME.total_seconds()))


def _require_native(provider: Provider) -> None:
    if not provider.is_openid:
        fault = FieldError("native", "not_supported", _("This provider does not support native apps."))
        raise InvalidInputError(fault)


def _require_step_up(session: UserSession | None, provider: Provider) -> None:
    if session is None or not provider.is_openid or Factor.objects.confirmed(session.user).are_asked_for:
        raise WrongFactorError


@sensitive_variables()
def finish(*, provider_id: str, flow_token: str, parameters: CallbackParameters, caller: Caller) -> Finished:
    """Finish a web flow with an authorization code.

    Args:
        provider_id: the id of the provider.
        flow_token: that of `start`, as received.
        parameters: what the browser brought back, as received.
        caller: who finishes it.

    Raises:
        InvalidFlowError: the flow token is not genuine, expired, used, or of another session.
        ProviderRefusedError: the answer is of another flow, or the provider proves nothing.
        ProviderUnavailableError: the provider cannot be reached.
        AuthKitError: see `login.log_in`, `identities.link_identity` and `step_up`.
    """

    def prove(flow: Flow) -> ProvedIdentity:
        return exchange_code(flow.provider, flow, parameters)

    return _finish(provider_id, flow_token, caller, prove, is_native=False)


@sensitive_variables()
def finish_by_id_token(*, provider_id: str, flow_token: str, id_token: str, caller: Caller) -> Finished:
    """Finish the flow of a native app with the ID token that it got from the provider.

    Raises:
        AuthKitError: as `finish`.
    """

    def prove(flow: Flow) -> ProvedIdentity:
        return check_id_token(flow.provider, flow, id_token)

    return _finish(provider_id, flow_token, caller, prove, is_native=True)


@sensitive_variables()
def _finish(
    provider_id: str,
    flow_token: str,
    caller: Caller,
    prove: Callable[[Flow], ProvedIdentity],
    *,
    is_native: bool,
) -> Finished:
    provider = find_provider(provider_id)
    # It makes the server call out, so it is counted before that, and before anything is verified.
    take_hits(network_buckets("oidc_network", caller.client), ThrottleSubject(caller.client))
    with _announced(provider.id, caller):
        flow = _read(flow_token, provider, caller, is_native=is_native)
        if flow.purpose is FlowPurpose.STEP_UP:
            return _step_up(flow, caller, prove)
        if flow.purpose is FlowPurpose.LINK:
            caller.require_fresh()
        proved = prove(flow)
        if flow.purpose is FlowPurpose.LINK:
            assert caller.session is not None  # noqa: S101  # `read_flow` has compared it
            return link_identity(
                session=caller.session,
                flow=flow,
                proved=proved,
                client=caller.client,
                require_fresh=caller.require_fresh,
            )
        return _log_in(flow, caller, proved)


@sensitive_variables()
def _read(flow_token: str, provider: Provider, caller: Caller, *, is_native: bool) -> Flow:
    try:
        flow = read_flow(flow_token, provider, session=caller.session)
        if (flow.redirect_uri is None) is not is_native:
            raise InvalidFlowError
    except InvalidFlowError:
        count_refused_token(caller.client)
        raise
    return flow


@contextmanager
def _announced(provider_id: str, caller: Caller) -> Iterator[None]:
    """Announce why a flow was refused. What the server or the limits cause is no refusal."""
    try:
        yield
    except (ThrottledError, SessionLimitReachedError, SessionEndedError, InvalidInputError):
        raise
    except AuthKitError as error:
        reason = error.reason if isinstance(error, ProviderRefusedError) else error.code
        if reason in _reasons():
            user = None if caller.session is None else caller.session.user
            signals.identity_refused.announce(user=user, client=caller.client, provider=provider_id, reason=reason)
        raise


@sensitive_variables()
def _reasons() -> frozenset[str]:
    # An import at the top would define the events also where the app is not installed.
    from ninja_auth_kit.contrib.oidc.events import IdentityRefused

    return frozenset(IdentityRefused.reasons)


def _log_in(flow: Flow, caller: Caller, proved: ProvedIdentity) -> TokenPair | PendingLogin | UsernameRequired:
    login = ProviderLogin(flow.provider, flow.ticket, proved, caller.request, caller.client, caller.device_token)
    try:
        return log_in(login)
    except SessionLimitReachedError as refusal:
        login_failed.announce(user=None, client=caller.client, identifier=None, reason=refusal.code)
        raise


@sensitive_variables()
def _step_up(flow: Flow, caller: Caller, prove: Callable[[Flow], ProvedIdentity]) -> SteppedUp:
    """Make a step-up with an identity of the user, who has logged in at the provider since it was begun."""
    session = caller.session
    assert session is not None  # noqa: S101  # `read_flow` has compared it
    _require_step_up(session, flow.provider)
    with counted_step_up(session, name=METHOD, client=caller.client):
        proved = prove(flow)
        row = Identity.objects.load(issuer=proved.issuer, subject=proved.subject)
        if row is None or row.user_id != session.user_id or not row.is_genuine:
            raise WrongFactorError

        def use_up(user: Any) -> None:
            if Factor.objects.confirmed(user).are_asked_for:
                raise WrongFactorError
            if not SpentTicket.objects.spend(flow.ticket):
                raise InvalidFlowError
            use_identity(row, user)

        return step_up(session=session, method="fed", name=METHOD, client=caller.client, prove=use_up)


@sensitive_variables()
def sign_up(*, signup_token: str, username: str, caller: Caller) -> TokenPair | PendingLogin:
    """Create the account of an identity that a provider has proved, and log in.

    Args:
        signup_token: that of `UsernameRequired`, as received.
        username: as typed.
        caller: who sends it.

    Raises:
        InvalidSignupError: the token is not genuine, expired or used, or the provider does not register any more.
        AccountExistsError: the address has an account by now.
        InvalidInputError: the username is not valid or taken. The token was not used up.
        ThrottledError: too many requests, or too many rejected tokens, from this network.
    """
    count_request(caller.client)
    try:
        ticket = read_ticket(signup_token, TicketPurpose.PROVIDER_SIGNUP)
        provider = find_provider(ticket.payload["provider"])
    except (InvalidTicketError, ProviderNotFoundError):
        count_refused_token(caller.client)
        raise InvalidSignupError from None
    said = ticket.payload
    proved = ProvedIdentity(said["issuer"], said["subject"], said["email"], is_email_verified=True)
    login = ProviderLogin(provider, ticket, proved, caller.request, caller.client, caller.device_token)
    with _announced(provider.id, caller):
        is_accepted = provider.email_trusted and provider.is_issuer(proved.issuer)
        if not is_accepted or not registers() or not has_username():
            raise InvalidSignupError
        return _sign_up(login, username)


@sensitive_variables()
def _sign_up(login: ProviderLogin, username: str) -> TokenPair | PendingLogin:
    try:
        return start_account(login, username=username)
    except (InvalidFlowError, RaceLostError):
        raise InvalidSignupError from None
