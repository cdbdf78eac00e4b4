"""The kit's own pages behind mailed links, for hosts without a front end of their own."""

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def token_page(request: HttpRequest, page: str, **context: Any) -> HttpResponse:
    """Return the page `ninja_auth_kit/pages/<page>.html`: a form that posts the token of the URL's fragment.

    Opening it uses nothing up: mail scanners open links. A fragment is never sent, so no log and no referrer has the
    token; nothing from elsewhere is loaded, and no script runs but the page's own.
    """
    nonce = secrets.token_urlsafe(16)
    response = render(request, f"ninja_auth_kit/pages/{page}.html", {"nonce": nonce, **context})
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response["Referrer-Policy"] = "no-referrer"
    response["X-Content-Type-Options"] = "nosniff"
    return response
