"""The checks of URLs: where the kit is mounted, and what the links in its mails begin with."""

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register
from django.urls import NoReverseMatch, get_resolver, reverse

from ninja_auth_kit import emails
from ninja_auth_kit.checks.hosts import is_public_https
from ninja_auth_kit.checks.kit import is_sound
from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.conf import settings


@register(Tags.urls)
def check_base_url(**_: Any) -> list[CheckMessage]:
    """E007: links in mails are never built from the Host header of a request."""
    if settings.BASE_URL is not None:
        return []
    hint = "Set NINJA_AUTH_KIT['BASE_URL'] to the scheme and host of your site, such as 'https://example.com'."
    return [error("E007", "NINJA_AUTH_KIT['BASE_URL'] is missing, and DEBUG is off.", hint)]


@register(Tags.urls, deploy=True)
def check_links(**_: Any) -> list[CheckMessage]:
    """W010 and W011: a link in a mail carries a token, and must lead to a page that others cannot read or forge."""
    if not is_sound():
        return []
    found: list[CheckMessage] = []
    if settings.BASE_URL is not None and not is_public_https(settings.BASE_URL):
        hint = "Set NINJA_AUTH_KIT['BASE_URL'] to where your users find the site, such as 'https://example.com'."
        found.append(
            warning("W010", "BASE_URL, which links in mails begin with, is not https or is this machine.", hint)
        )
    for name, url in settings.FRONTEND_URLS.items():
        if not is_public_https(url):
            hint = (
                f"Set NINJA_AUTH_KIT['FRONTEND_URLS'][{name!r}] to the page's public address, beginning with https://."
            )
            found.append(warning("W011", f"FRONTEND_URLS[{name!r}] is not https or is this machine.", hint))
    return found


@register(Tags.urls)
def check_mount(**_: Any) -> list[CheckMessage]:
    """W004: a line forgotten in the URLconf would show only as pages that are not there."""
    if not getattr(django_settings, "ROOT_URLCONF", None) or _is_mounted():
        return []
    hint = (
        'Add this line to the urlpatterns of your URLconf: path("api/auth/", include("ninja_auth_kit.urls")), '
        "or install the kit on a NinjaAPI that is there already: ninja_auth_kit.install(api). Where it is there, "
        "take away the namespace around it, and parameters such as <str:tenant> before it."
    )
    return [warning("W004", f"No URL of the kit can be reversed in {django_settings.ROOT_URLCONF}.", hint)]


def _is_mounted() -> bool:
    _ = get_resolver().url_patterns  # importing the URLconf makes the APIs tell their namespaces
    return any(_can_be_reversed(namespace) for namespace in (emails.OWN_NAMESPACE, *emails.page_namespaces))


def _can_be_reversed(namespace: str) -> bool:
    try:
        reverse(f"{namespace}:auth_login")
    except NoReverseMatch:
        return False
    return True
