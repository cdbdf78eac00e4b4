"""The emails of the kit and the links in them.

Emails are sent by `background.after_answer`, never inside a transaction or a request. A response must not take longer
if an account has the address (CVE-2024-45231), and a slow mail server must not occupy a worker.
"""

from collections.abc import Mapping
from typing import Any

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, get_resolver, get_script_prefix, reverse

from ninja_auth_kit.conf import settings
from ninja_auth_kit.domains import ascii_recipient

OWN_NAMESPACE = "ninja_auth_kit"  # the namespace of `ninja_auth_kit.urls`
# The namespaces of the NinjaAPIs that have the kit's pages. `install` adds to the list.
page_namespaces: list[str] = []


def send(template: str, *, to: str, context: Mapping[str, Any]) -> None:
    """Render an email and send it.

    Raises:
        Exception: any exception of the email backend.
    """
    render(template, to=to, context=context).send()


def render(template: str, *, to: str, context: Mapping[str, Any]) -> mail.EmailMultiAlternatives:
    """Return the email of `ninja_auth_kit/email/<template>_{subject.txt,message.txt,message.html}`.

    Raises:
        InvalidDomainError: the recipient's address cannot be written in ASCII.
    """
    path = f"ninja_auth_kit/email/{template}"
    subject = " ".join(render_to_string(f"{path}_subject.txt", context).split())
    recipient = ascii_recipient(to)  # Django would encode the domain by IDNA 2003, which can be that of somebody else
    message = mail.EmailMultiAlternatives(subject, render_to_string(f"{path}_message.txt", context), to=[recipient])
    html = render_to_string(f"{path}_message.html", {**context, "subject": subject})
    message.attach_alternative(html, "text/html")
    return message


def page_url(page: str) -> str:
    """Return the URL of a page that accepts a one-time token: a page of your front end, or the kit's own.

    The URL does not depend on the request, because the client controls the Host header (OWASP, Forgot Password).

    Raises:
        ImproperlyConfigured: `BASE_URL` is missing, or the URLconf does not contain the URLs of the kit.
    """
    configured: str | None = settings.FRONTEND_URLS.get(page)
    if configured is not None:
        return configured
    if settings.BASE_URL is None:
        raise ImproperlyConfigured(
            "NINJA_AUTH_KIT['BASE_URL'] is required for links in emails. Set it to the scheme and host of your site, "
            "such as 'https://example.com'."
        )
    url = own_url(f"auth_{page}_page")
    if url is not None:
        return url
    raise ImproperlyConfigured(
        f"The link in an email needs a page {page!r}, and the URLs of the kit are not in the URLconf. Add "
        f"include('ninja_auth_kit.urls') to your URLconf, or set NINJA_AUTH_KIT['FRONTEND_URLS'][{page!r}]."
    )


def own_url(name: str, *args: str) -> str | None:
    """Return the public URL of an operation of the kit: below `BASE_URL`, whatever the Host header of a request is.

    Args:
        name: the name of the URL, such as "auth_login".
        args: the parameters in its path.

    Returns:
        The URL, or None if the URLconf does not have it or `BASE_URL` is missing.
    """
    if settings.BASE_URL is None:
        return None
    _ = get_resolver().url_patterns  # importing the URLconf registers the namespaces of the APIs
    for namespace in sorted(page_namespaces, key=OWN_NAMESPACE.__ne__):  # `ninja_auth_kit.urls` comes first
        try:
            path = reverse(f"{namespace}:{name}", args=args)
        except NoReverseMatch:  # the API is not in the URLconf
            continue
        # The script prefix comes from the request. If Django is mounted below a path, BASE_URL has
        # it.
        return f"{settings.BASE_URL}/{path.removeprefix(get_script_prefix())}"
    return None


def site_context() -> dict[str, str]:
    """Return the context that all emails have: `site_url` from `BASE_URL`, and `site_name` from `SITE_NAME`."""
    return {"site_url": settings.BASE_URL or "", "site_name": settings.SITE_NAME}
