"""Write emails to files, which the mailbox shows, and also send them if EMAIL_HOST is set (to Mailpit)."""

import os
import smtplib
from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends import filebased


class EmailBackend(filebased.EmailBackend):
    """Write emails to files, and send them to EMAIL_HOST if it is set."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send the emails, and return their number."""
        if host := os.environ.get("EMAIL_HOST"):
            with smtplib.SMTP(host, int(os.environ.get("EMAIL_PORT", "25")), timeout=5) as server:
                for message in email_messages:
                    server.send_message(message.message(), message.from_email, message.recipients())
        return super().send_messages(email_messages)
