"""The emails to the owner of an account about its providers (ASVS 6.3.7)."""

from typing import Any

from django.db.models import TextChoices

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.oidc.providers import providers
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.models.promised_emails import NewEmail
from ninja_auth_kit.models.users import stored_email
from ninja_auth_kit.services.internal.email_links import send_notice
from ninja_auth_kit.services.internal.promises import promise, sends


class IdentityEmail(TextChoices):
    """What an email is about. The template has the same name."""

    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"


def promise_notice(kind: IdentityEmail, user: Any, client: ClientInfo | None, *, provider: str) -> None:
    """Promise an email to the owner in the open transaction.

    Args:
        kind: what it is about.
        user: the owner of the account.
        client: the client of the request, or None if there is no request.
        provider: the id of the provider.
    """
    promise(NewEmail(kind, user, client, address=stored_email(user), page=provider))


@sends(*IdentityEmail)
def _send(promised: PromisedEmail) -> None:
    found = providers().get(promised.page)
    send_notice(promised, provider=promised.page if found is None else found.name)
