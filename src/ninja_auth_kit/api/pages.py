"""The pages that links in emails open, unless `FRONTEND_URLS` names a page of your front end."""

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ninja_auth_kit.conf import settings


def token_page(request: HttpRequest, page: str, **context: Any) -> HttpResponse:
    """Return the page `ninja_auth_kit/pages/<page>.html`, whose form posts the token in the fragment of the URL.

    - Opening the page does not use the token, because mail scanners open links.
    - Browsers do not send the fragment, so the token is not in logs or in referrers.
    - A link that is not valid leads to a form that requests a new one. It says the same for every address.
    - The page loads nothing from other sites, and only its own script runs.
    """
    nonce = secrets.token_urlsafe(16)
    context |= {"nonce": nonce, "site_name": settings.SITE_NAME}
    response = render(request, f"ninja_auth_kit/pages/{page}.html", context)
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response["Referrer-Policy"] = "no-referrer"
    response["X-Content-Type-Options"] = "nosniff"
    return response
