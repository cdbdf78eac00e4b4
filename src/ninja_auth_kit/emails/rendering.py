"""The kit's mails: rendering, links, and delivery after the answer.

A mail never goes out inside a transaction or inside a request: the answer must not take longer for an address that
somebody has (CVE-2024-45231), and a slow mail server must not hold a worker.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, get_resolver, get_script_prefix, reverse

from ninja_auth_kit.conf import settings

OWN_NAMESPACE = "ninja_auth_kit"  # of `include("ninja_auth_kit.urls")`
# The namespaces of the NinjaAPIs that carry the kit's pages; `install` adds to them.
page_namespaces: list[str] = []


def send(template: str, *, to: str, context: Mapping[str, Any]) -> None:
    """Render a mail and send it.

    Raises:
        Exception: whatever the mail backend raises.
    """
    render(template, to=to, context=context).send()


def render(template: str, *, to: str, context: Mapping[str, Any]) -> mail.EmailMultiAlternatives:
    """Return the mail made of `ninja_auth_kit/email/<template>_{subject.txt,message.txt,message.html}`."""
    path = f"ninja_auth_kit/email/{template}"
    subject = " ".join(render_to_string(f"{path}_subject.txt", context).split())
    message = mail.EmailMultiAlternatives(subject, render_to_string(f"{path}_message.txt", context), to=[to])
    message.attach_alternative(render_to_string(f"{path}_message.html", context), "text/html")
    return message


def page_url(page: str) -> str:
    """Return the address of a page that takes a mailed token: the host's front end, or the kit's own page.

    Never built from the request, whose Host header the caller writes (OWASP, Forgot Password).

    Raises:
        ImproperlyConfigured: there is no `BASE_URL`, or no URL of the kit in the host's URLconf.
    """
    configured: str | None = settings.FRONTEND_URLS.get(page)
    if configured is not None:
        return configured
    if settings.BASE_URL is None:
        raise ImproperlyConfigured("Set NINJA_AUTH_KIT['BASE_URL'], scheme and host of the links in mails.")
    _ = get_resolver().url_patterns  # importing the URLconf makes the APIs tell their namespaces
    for namespace in sorted(page_namespaces, key=OWN_NAMESPACE.__ne__):  # the kit's own mount comes first
        try:
            path = reverse(f"{namespace}:auth_{page}_page")
        except NoReverseMatch:  # this API is installed but not in the URLconf
            continue
        # The script prefix is the request's; where Django is mounted below a path, BASE_URL says so.
        return f"{settings.BASE_URL}/{path.removeprefix(get_script_prefix())}"
    raise ImproperlyConfigured(f"Mount the kit's URLs, or set NINJA_AUTH_KIT['FRONTEND_URLS']['{page}'].")


def site_context() -> dict[str, str]:
    """Return what every mail may want to say: `site_url` and `site_name`, from `BASE_URL`."""
    base = settings.BASE_URL or ""
    return {"site_url": base, "site_name": urlsplit(base).netloc}
