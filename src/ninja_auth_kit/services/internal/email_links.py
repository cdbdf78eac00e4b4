"""Emailed links: send one with a new one-time token, and reject the tokens that come back and are not valid."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.timesince import timeuntil

from ninja_auth_kit import emails
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.exceptions import InvalidOneTimeTokenError
from ninja_auth_kit.models import OneTimeToken, PromisedEmail
from ninja_auth_kit.models.one_time_tokens import Purpose, new_one_time_token, one_time_token_digest
from ninja_auth_kit.models.users import lock_user, stored_email
from ninja_auth_kit.services.internal.throttling import count_email_link, count_owner_email, count_refused_token
from ninja_auth_kit.services.internal.uniform import burn_token_lookup, render_unsent
from ninja_auth_kit.signals import ActionSignal


def send_link(
    user: Any | None, *, promised: PromisedEmail, purpose: Purpose, lifetime: timedelta, **context: Any
) -> None:
    """Send a promised link with a new one-time token, whose lifetime begins now.

    The earlier ones of the purpose stay valid until one of them is used.

    Without a user, or beyond the rate limits of the recipient, nothing is stored or sent, but an email is rendered and
    discarded.

    Args:
        user: the recipient, at the stored spelling of the address, or None.
        promised: the promise, with the page that the link opens and the client whose rate limits apply.
        purpose: what the token is valid for. The email template has the same name.
        lifetime: how long the token is valid.
        context: further variables for the email template.
    """
    if not count_email_link(user, client=promised.first_client()) or user is None:
        burn_token_lookup(purpose)
        render_unsent(purpose.value, {**link_context(promised.page, new_one_time_token(), lifetime), **context})
        return
    to = stored_email(user)
    with atomic():
        current = lock_user(user.pk)
        # A stranger may have registered the address again since the user was read. A link for the
        # stranger's account would let the owner of the mailbox verify the address for it.
        if current is None or current.password != user.password:
            return
        expires_at = timezone.now() + lifetime
        token = OneTimeToken.objects.issue(purpose=purpose, user=user, email=to, expires_at=expires_at)
    email_token(token, purpose=purpose, to=to, context={**link_context(promised.page, token, lifetime), **context})


def email_token(token: str, *, purpose: Purpose, to: str, context: Mapping[str, Any]) -> None:
    """Send the email with a new token. If that fails, delete the token, because the next attempt makes another.

    Otherwise the attempts during an outage of the mail server would supersede the links that were sent before it.

    Raises:
        Exception: any exception of the email backend.
    """
    try:
        emails.send(purpose.value, to=to, context=context)
    except Exception:
        OneTimeToken.objects.filter(digest=one_time_token_digest(purpose=purpose, token=token)).delete()
        raise


def send_notice(promised: PromisedEmail, **context: Any) -> None:
    """Send a notice to the owner of an account, at the address that the account had when it was promised.

    Args:
        promised: the promise.
        context: further variables for the email template.
    """
    may_email = bool(promised.address) and promised.is_bound_to()
    is_counted = promised.attempts > 1
    if may_email and (is_counted or count_owner_email(promised.address)):
        emails.send(promised.kind, to=promised.address, context={**emails.site_context(), **context})


def link_context(page: str, token: str, lifetime: timedelta) -> dict[str, Any]:
    """Return the variables of an email template that has a link."""
    now = timezone.now()
    link = f"{page}#token={token}"
    return {**emails.site_context(), "link": link, "token": token, "lifetime": timeuntil(now + lifetime, now)}


def reject_token(
    failed: ActionSignal, reason: str, *, client: ClientInfo, user: Any | None = None, or_password: bool = False
) -> InvalidOneTimeTokenError:
    """Count a rejected token, announce the failure and return the error to raise. It is the same for every reason.

    Args:
        failed: the signal that announces the failure.
        reason: why the token was rejected; only the receivers of the signal learn it.
        client: the caller.
        user: the user whose token it is, or None if the token is unknown.
        or_password: whether the password that was sent with the token may be wrong instead.

    Raises:
        ThrottledError: too many rejected tokens from this network.
    """
    count_refused_token(client)
    failed.announce(user=user, client=client, reason=reason)
    return InvalidOneTimeTokenError(or_password=or_password)
