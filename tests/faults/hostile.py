"""Send hostile logins that a web server would reject, and print the status codes.

Run it as `python -m tests.faults.hostile`.
"""

import json
from typing import Any

import django

LOGIN = "/api/auth/login"
# Each is (email address, password, environment of the request).
ATTEMPTS: list[tuple[str, str, dict[str, str]]] = [
    ("nul\0@example.com", "\0", {}),
    ("surrogate\ud800@example.com", "\udfff", {}),
    ("\u202emoc.elpmaxe@left", "\u200f", {"HTTP_USER_AGENT": "\u202e"}),
    ("a@example.com", "x", {"HTTP_USER_AGENT": "x" * 1_000_000}),
    ("b@example.com", "x", {"HTTP_USER_AGENT": '\0\ud800\x9b31m"\\\r\n{"id": "forged"}'}),
    ("c@example.com", "x", {"HTTP_X_REQUEST_ID": "\0" * 10_000, "HTTP_TRACEPARENT": "\ud800"}),
    ("d@example.com", "x", {"REMOTE_ADDR": "\0", "HTTP_X_FORWARDED_FOR": "\ud800"}),
]


def main() -> list[int]:
    """Send all logins and return the status codes."""
    from django.test import Client

    browser = Client(raise_request_exception=False)
    answers = []
    for email, password, environment in ATTEMPTS:
        # Escapes what JSON can only express as an escape.
        body = json.dumps({"email": email, "password": password})
        extra: dict[str, Any] = dict(environment)
        answers.append(browser.post(LOGIN, body, content_type="application/json", **extra).status_code)
    return answers


if __name__ == "__main__":
    django.setup()
    print(json.dumps(main()))
