"""Every list of the admin fits a screen of 1280 pixels, with long data, in English and German."""

from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser

from ninja_auth_kit.models import AuditDeferred, AuditOutbox, EmailAddress, UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import has_username
from tests.admin.conftest import MODELS, Pages
from tests.browser import chromium, served
from tests.conftest import Api

__all__ = ["chromium"]  # a fixture

in_database = pytest.mark.django_db(transaction=True)

WIDTH = 1280
LONG_ADDRESS = "maximiliana-sophie.von-und-zu.schwarzenberger@verwaltung.universitaetsklinikum-luebeck.example"
UNBROKEN_ADDRESS = "x" * 64 + "@" + ".".join(["y" * 55] * 3) + ".example"
# An app that embeds a browser: such names have no end and hardly a space.
USER_AGENT = (
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/120.0.6099.230 Mobile Safari/537.36 "
    "Instagram/314.0.0.20.114_Android_(34/14;_600dpi;_1440x3088;_samsung;_SM-S918B;_dm3q;_qcom;_de_DE;_556277130)"
)
IPV6 = "2001:db8:85a3:1234:5678:8a2e:a370:7334"
# The elements that scroll or that are cut off, and those that reach beyond the window.
OVERFLOWS = """() => [...document.body.querySelectorAll("*")].filter((at) => {
  if (!at.checkVisibility() || at.closest(".visually-hidden")) return false;
  const isCut = at.scrollWidth > at.clientWidth + 1 && getComputedStyle(at).overflowX !== "visible" && at.clientWidth;
  return isCut || at.getBoundingClientRect().right > innerWidth + 1;
}).map((at) => `${at.tagName} ${at.id} ${at.className} ${at.scrollWidth} ${at.clientWidth}`)"""


@pytest.fixture
def long_rows(api: Api, make_user: Callable[..., Any]) -> None:
    """Create rows with long values in each list."""
    for address in (LONG_ADDRESS, UNBROKEN_ADDRESS):
        make_user(address, **({"username": address[:150]} if has_username() else {}))
        for _ in range(2):
            api.login(address, HTTP_USER_AGENT=USER_AGENT, REMOTE_ADDR=IPV6)
    for number in range(2):  # imported users, whose addresses the kit does not know yet
        name = f"{number}{UNBROKEN_ADDRESS[1:]}"
        imported = make_user(name, **({"username": name[:150]} if has_username() else {}))
        EmailAddress.objects.filter(user=imported).delete()
    UserSession.objects.filter(is_active=False).update(end_reason=EndReason.PASSWORD_CHANGED)
    event = AuditOutbox.objects.order_by("pk")[0]
    values = {name: getattr(event, name) for name in ("event_id", "shard", "payload", "created_at")}
    for number, key in enumerate(("auth.session.refresh.failure", "shop.order.item." + "very_long_name_" * 8)):
        AuditDeferred.objects.create(
            id=event.pk + 10**12 + number,
            **values,
            routing_key=key,
            state="parked",
            reason="message_too_large_for_the_broker",
            last_error="x" * 300,
            attempts=1_000_000,
            next_attempt_at=timezone.now(),
        )
        AuditOutbox.objects.create(**values, routing_key=key)
    assert all(model._base_manager.exists() for model in MODELS)


@pytest.fixture
def site() -> Iterator[str]:
    """Serve the admin with its style sheets."""
    middleware = list(django_settings.MIDDLEWARE)
    middleware.insert(1, "django.middleware.locale.LocaleMiddleware")
    apps = ["django.contrib.staticfiles", *django_settings.INSTALLED_APPS]
    finders.get_finder.cache_clear()  # it keeps the apps
    with override_settings(INSTALLED_APPS=apps, MIDDLEWARE=middleware), served() as url:
        yield url
    finders.get_finder.cache_clear()


@in_database
@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_list_does_not_scroll_sideways(
    language: str, long_rows: None, pages: Pages, site: str, chromium: Browser
) -> None:
    context = chromium.new_context(viewport={"width": WIDTH, "height": 900}, locale=language)
    cookies = [{"name": name, "value": one.value, "url": site} for name, one in pages.client.cookies.items()]
    context.add_cookies(cookies)  # type: ignore[arg-type]
    page = context.new_page()
    lists = [reverse(f"admin:ninja_auth_kit_{model._meta.model_name}_changelist") for model in MODELS]
    for path in lists:
        page.goto(site + path)
        links = page.locator(".object-tools a").all()  # the lists that belong to this one
        lists += [link.get_attribute("href") for link in links]
        assert page.locator("#result_list tbody tr").count() >= 2
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH, path
        assert page.evaluate(OVERFLOWS) == [], path
    context.close()


@in_database
def test_what_is_cut_in_a_list_is_whole_in_its_tooltip_and_on_the_page(
    long_rows: None, pages: Pages, site: str
) -> None:
    page = pages.list(UserSession).content.decode()
    session = UserSession.objects.filter(user_agent=USER_AGENT[:256])[0]

    assert f'title="{USER_AGENT[:256]}"' in page
    assert USER_AGENT[:256] in pages.page(UserSession, "change", session.pk).content.decode()
    assert IPV6 in page.replace("<wbr>", "")
    assert LONG_ADDRESS in pages.list(EmailAddress).content.decode().replace("<wbr>", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "two  words",
        "x" * 300,
        "<script>alert(1)</script>" * 3,
        "a.b@c-d:e/f_g;" * 9,
        "ü" * 40 + "\n" + "书" * 40,
        "&amp;<wbr>" * 9,
        "\"'" * 30,
    ],
)
def test_a_long_word_may_wrap_and_keeps_every_character(text: str) -> None:
    from ninja_auth_kit.admin.columns import wrapping  # the admin is not installed when tests are collected

    html = wrapping(text)

    assert unescape(html.replace("<wbr>", "")) == text
    assert "<" not in html.replace("<wbr>", "")
    longest = max((len(unescape(piece)) for part in html.split() for piece in part.split("<wbr>")), default=0)
    assert longest <= 24
