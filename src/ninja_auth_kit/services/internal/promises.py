"""Promise an email in the transaction of the action that it is about, and send it after the response.

A promise is a row (`models/promised_emails.py`). This process sends its email after the commit. If it ends before, or
if the mail server does not answer, any process does: see `services/promised_emails.py`.
"""

import logging
import smtplib
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import TextChoices
from django.utils import translation

from ninja_auth_kit import emails, features
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.models.promised_emails import NewEmail
from ninja_auth_kit.models.users import user_by_pk

logger = logging.getLogger("ninja_auth_kit.emails")

Send = Callable[[PromisedEmail], None]

_SENDERS: dict[str, Send] = {}


def sends(*kinds: TextChoices) -> Callable[[Send], Send]:
    """Register a function that sends the promised emails of these kinds.

    The function sends one email, or renders one and discards it. It may be called again for the same row: if it
    raised an exception, or if its process was killed.
    """

    def register(send: Send) -> Send:
        _SENDERS.update({kind.value: send for kind in kinds})
        return send

    return register


def promise(*promised: NewEmail, supersede_changes_of: Any | None = None) -> None:
    """Promise emails with one statement in the open transaction, and send them after its commit.

    Promise an email even if none will be sent. Attack: without the row, the response would be faster, and reveal that
    no account has the address.

    Args:
        promised: the emails.
        supersede_changes_of: take back the links to a new address that were promised to this user and wait.
    """
    for id in PromisedEmail.objects.add(promised, supersede_changes_of=supersede_changes_of):
        emails.after_answer(partial(_send_new, id), using=accounts_database())


def _send_new(id: int) -> None:
    promised = PromisedEmail.objects.claim_new(id)
    if promised is not None:  # otherwise another process was faster, or the email was taken back
        deliver(promised)


def user_of(promised: PromisedEmail) -> Any | None:
    """Return the user whom an email is about as it is now, or None."""
    return None if promised.user_id is None else user_by_pk(promised.user_id)


def deliver(promised: PromisedEmail) -> Exception | None:
    """Send an email that this process has claimed, and delete its row.

    If that fails, the email is put off or given up. If the process is killed between the answer of the mail server
    and the deletion, the email is sent twice.

    Returns:
        The exception of the attempt, or None.

    Raises:
        DatabaseError: the database is not available. The row stays.
    """
    try:
        with translation.override(promised.language or None):
            _sender_of(promised.kind)(promised)
    except Exception as error:
        _put_off(promised, error)
        return error
    PromisedEmail.objects.remove(promised)
    return None


def _sender_of(kind: str) -> Send:
    if kind not in _SENDERS:  # of a feature, in a process that has sent none yet, such as a relay
        features.import_senders()
    return _SENDERS[kind]


def _put_off(promised: PromisedEmail, error: Exception) -> None:
    """Put an email off, and log why: only the class of the exception, because its text can contain an address."""
    code = _smtp_code(error)
    described = type(error).__name__ if code is None else f"{type(error).__name__} {code}"
    state = PromisedEmail.objects.put_off(promised, error=described, is_refused=_is_refusal(error, code))
    advice = "Check Django's email settings, and that the mail server answers."
    if state == PromisedEmail.State.WAITING:
        logger.warning("An email could not be sent: %s. It is tried again. %s", described, advice)
    elif state == PromisedEmail.State.REFUSED:
        logger.warning("The mail server has refused an email for good: %s. See authkit_status.", described)
    else:
        logger.error(
            "An email was given up, because it could not be sent for a day: %s. %s Then run authkit_requeue --emails.",
            described,
            advice,
        )


def is_outage(error: Exception) -> bool:
    """Return whether an error concerns all emails: the mail server does not answer, or rejects the sender."""
    about_one = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPNotSupportedError)
    # OSError is the base class of all errors of connections and of smtplib.
    return isinstance(error, OSError) and not isinstance(error, about_one)


def _smtp_code(error: Exception) -> int | None:
    """Return the reply code of the mail server, if there is one. Of several recipients, it is the lowest."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return min((code for code, _ in error.recipients.values()), default=None)
    return error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None


def _is_refusal(error: Exception, code: int | None) -> bool:
    """Return whether the mail server has refused this recipient or this message for good (RFC 5321 section 4.2.1).

    Other errors can be repaired, such as a wrong password for the mail server, even if their code says "permanent".
    """
    refusals = (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)
    return isinstance(error, smtplib.SMTPNotSupportedError) or (
        isinstance(error, refusals) and code is not None and code >= 500
    )
