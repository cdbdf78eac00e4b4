"""The emails to the owner of an account about its second factors (ASVS 6.3.7)."""

from typing import Any

from django.db.models import TextChoices

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.models import RecoveryCode
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.models.promised_emails import NewEmail
from ninja_auth_kit.models.users import stored_email
from ninja_auth_kit.services.internal.email_links import send_notice
from ninja_auth_kit.services.internal.promises import promise, sends


class FactorEmail(TextChoices):
    """What an email is about. The template has the same name."""

    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    FACTORS_RESET = "factors_reset"
    FACTOR_GUESSED = "factor_guessed"
    RECOVERY_CODES_GENERATED = "recovery_codes_generated"
    RECOVERY_CODE_USED = "recovery_code_used"


def promise_notice(kind: TextChoices, user: Any, client: ClientInfo | None) -> None:
    """Promise an email to the owner in the open transaction.

    Args:
        kind: a kind that `sends` has registered a function for.
        user: the owner of the account.
        client: the client of the request, or None if there is no request.
    """
    promise(NewEmail(kind, user, client, address=stored_email(user)))


@sends(*(kind for kind in FactorEmail if kind is not FactorEmail.RECOVERY_CODE_USED))
def _send(promised: PromisedEmail) -> None:
    send_notice(promised)


@sends(FactorEmail.RECOVERY_CODE_USED)
def _send_codes_left(promised: PromisedEmail) -> None:
    left = RecoveryCode.objects.filter(user=promised.user_id, used_at=None).count()
    send_notice(promised, left=left)
