"""A slow email backend."""

import time
from typing import Any

from django.core.mail.backends.base import BaseEmailBackend


class EmailBackend(BaseEmailBackend):
    """Wait half a second for each email and discard it."""

    def send_messages(self, email_messages: Any) -> int:
        time.sleep(0.5)
        return len(email_messages)
