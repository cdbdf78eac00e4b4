"""A mailbox for development: the emails that the project has sent, read from its files."""

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

SEPARATOR = b"-" * 79  # between the messages of one file, as Django writes them


def mails() -> list[dict[str, Any]]:
    """Return all emails, the newest first."""
    files = sorted(_folder().glob("*.log"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [_mail(data) for path in files for data in path.read_bytes().split(SEPARATOR) if data.strip()]


def inbox(request: HttpRequest) -> HttpResponse:
    """Show the emails as a page, or as JSON with `?format=json`."""
    found = mails()
    if request.GET.get("format") == "json":
        return JsonResponse({"mails": found})
    return render(request, "mailbox/inbox.html", {"mails": found})


def _folder() -> Path:
    if hasattr(settings, "MAILERS"):
        return Path(settings.MAILERS["default"]["OPTIONS"]["file_path"])
    return Path(settings.EMAIL_FILE_PATH)


def _mail(data: bytes) -> dict[str, Any]:
    message = email.message_from_bytes(data.strip(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101  # the policy creates EmailMessage
    body = message.get_body(("plain",))
    return {
        "to": message["To"],
        "subject": message["Subject"],
        "date": message["Date"],
        "body": body.get_content() if body else "",
    }
