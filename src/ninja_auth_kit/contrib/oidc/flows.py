"""Flow tokens: signed tickets from which state, nonce and code verifier are derived. No row is stored for them.

So what comes back from a provider belongs to the flow token of the caller or to none (RFC 9700 sections 2.1 and 4.7).
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlencode

from ninja_auth_kit.contrib.oidc.exceptions import InvalidFlowError
from ninja_auth_kit.contrib.oidc.metadata import Metadata
from ninja_auth_kit.contrib.oidc.providers import Provider, redirect_uris
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import InvalidTicketError, Ticket, TicketPurpose, issue_ticket, read_ticket
from ninja_auth_kit.tokens.tickets import LIFETIME


class FlowPurpose(Enum):
    """What a flow is for."""

    LOGIN = "login"
    LINK = "link"
    STEP_UP = "step_up"


@dataclass(frozen=True)
class Flow:
    """A genuine flow token.

    Attributes:
        ticket: the ticket.
        provider: the provider that it is for.
        purpose: what it is for.
        redirect_uri: where the front end gets the browser back, or None for a native app.
        sent_redirect_uri: what the provider gets, which differs if the kit has the callback; "" for a native app.
    """

    ticket: Ticket
    provider: Provider
    purpose: FlowPurpose
    redirect_uri: str | None
    sent_redirect_uri: str

    @property
    def nonce(self) -> str:
        """The nonce, which the ID token must repeat."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """The code verifier: 43 characters (RFC 7636 section 4.1)."""
        return self._derived("code verifier")

    @property
    def state(self) -> str:
        """The state: the number of the redirect URI, which the callback of the kit reads, and an HMAC."""
        number = redirect_uris(self.provider).index(self.redirect_uri or "")
        return f"{number}.{self._derived('state')}"

    @property
    def issued_at(self) -> int:
        """When the flow was begun, in seconds since the epoch."""
        return int((self.ticket.expires_at - LIFETIME).timestamp())

    @property
    def needs_new_authentication(self) -> bool:
        """Whether the user must be authenticated by the provider after the flow was begun."""
        return self.purpose is FlowPurpose.STEP_UP

    def is_state(self, state: str) -> bool:
        """Return whether a state, as received, is that of this flow."""
        return hmac.compare_digest(self.state.encode(), state.encode(errors="surrogatepass"))

    def authorization_url(self, metadata: Metadata) -> str:
        """Return where the browser goes (OpenID Connect Core 1.0 section 3.1.2.1, RFC 7636 section 4.3)."""
        challenge = urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.sent_redirect_uri,
            "scope": self.provider.scope,
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self.needs_new_authentication:
            query["max_age"] = "0"
        if self.provider.posts_form:
            query["response_mode"] = "form_post"
        endpoint = metadata.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def _derived(self, label: str) -> str:
        return urlsafe_b64encode(self.ticket.derive(f"provider {label}")).rstrip(b"=").decode()


def begin_flow(
    provider: Provider,
    purpose: FlowPurpose,
    *,
    redirect_uri: str | None,
    sent_redirect_uri: str,
    session: UserSession | None,
) -> tuple[str, Flow]:
    """Return a new flow token, and what it says.

    Args:
        provider: the provider.
        purpose: what it is for.
        redirect_uri: one of `OIDC["REDIRECT_URIS"]`, or None for a native app.
        sent_redirect_uri: what the provider gets.
        session: the session that can finish it; None for a login.
    """
    payload: dict[str, Any] = {"provider": provider.id, "purpose": purpose.value}
    if redirect_uri is not None:
        payload |= {"redirect_uri": redirect_uri, "sent": sent_redirect_uri}
    if session is not None:
        payload["session"] = str(session.pk)
    token = issue_ticket(TicketPurpose.PROVIDER, payload)
    return token, read_flow(token, provider, session=session)


def read_flow(token: str, provider: Provider, *, session: UserSession | None) -> Flow:
    """Return what a flow token says.

    Args:
        token: as received.
        provider: the provider of the request, which must be that of the token.
        session: the session of the request, if it has one.

    Raises:
        InvalidFlowError: the token is not genuine, expired, of another provider or of another session, or its redirect
            URI is not configured any more.
    """
    try:
        ticket = read_ticket(token, TicketPurpose.PROVIDER)
    except InvalidTicketError:
        raise InvalidFlowError from None
    said = ticket.payload
    purpose, redirect_uri = FlowPurpose(said["purpose"]), said.get("redirect_uri")
    is_of_session = purpose is FlowPurpose.LOGIN or (session is not None and said["session"] == str(session.pk))
    is_configured = redirect_uri is None or redirect_uri in redirect_uris(provider)
    if said["provider"] != provider.id or not is_of_session or not is_configured:
        raise InvalidFlowError
    return Flow(ticket, provider, purpose, redirect_uri, said.get("sent", ""))
