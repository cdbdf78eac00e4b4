"""The email to the owner of an account about a new API key (ASVS 6.3.7)."""

from django.db.models import TextChoices

from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.services.internal.email_links import send_notice
from ninja_auth_kit.services.internal.promises import sends


class KeyEmail(TextChoices):
    """What an email is about. The template has the same name."""

    API_KEY_CREATED = "api_key_created"


@sends(KeyEmail.API_KEY_CREATED)
def _send(promised: PromisedEmail) -> None:
    send_notice(promised)
