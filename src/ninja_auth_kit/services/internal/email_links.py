"""Links by mail, to somebody or to nobody: the same work either way, so that its time does not tell which."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.timesince import timeuntil

from ninja_auth_kit import emails
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic
from ninja_auth_kit.models import OneTimeToken
from ninja_auth_kit.models.one_time_tokens import Purpose, new_one_time_token
from ninja_auth_kit.models.users import lock_user, stored_email
from ninja_auth_kit.services.internal.throttling import count_email_link


def send_link(
    user: Any | None,
    *,
    purpose: Purpose,
    email: str,
    page: str,
    lifetime: timedelta,
    client: ClientInfo | None,
    **context: Any,
) -> None:
    """Mail a link with a new one-time token, which voids the one before; to nobody, or beyond the limits, none.

    Args:
        user: to whom, at the stored spelling of the address; or None.
        purpose: what the token is good for; the template has the same name.
        email: the address as typed.
        page: what the link opens.
        lifetime: how long the token is good.
        client: who is calling, and whose limits count; None for an administrator.
        context: what else the template wants.
    """
    if not count_email_link(user, email=email, client=client) or user is None:
        OneTimeToken.objects.find(purpose=purpose, token=new_one_time_token())
        nowhere = link_context(page, new_one_time_token(), lifetime)
        emails.render(purpose.value, to="", context={**nowhere, **context})  # as much work
        return
    to = stored_email(user)
    with atomic():
        current = lock_user(user.pk)
        if current is None or current.password != user.password:
            return  # a link for what somebody else has registered meanwhile would prove the address for a stranger
        expires_at = timezone.now() + lifetime
        token = OneTimeToken.objects.issue(purpose=purpose, user=user, email=to, expires_at=expires_at)
    emails.send(purpose.value, to=to, context={**link_context(page, token, lifetime), **context})


def link_context(page: str, token: str, lifetime: timedelta) -> dict[str, Any]:
    """Return what the template of a link is given."""
    now = timezone.now()
    link = f"{page}#token={token}"
    return {**emails.site_context(), "link": link, "token": token, "lifetime": timeuntil(now + lifetime, now)}
