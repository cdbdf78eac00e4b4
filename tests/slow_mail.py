"""A mail server that takes its time."""

import time
from typing import Any

from django.core.mail.backends.base import BaseEmailBackend


class EmailBackend(BaseEmailBackend):
    """Takes half a second for each mail and throws it away."""

    def send_messages(self, email_messages: Any) -> int:
        time.sleep(0.5)
        return len(email_messages)
