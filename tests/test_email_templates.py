"""The templates of the emails: layout, name of the site, escaping, and the variables that the documentation lists."""

import re
from collections import defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core import mail
from django.test.signals import template_rendered
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token
from tests.servers import ROOT

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

LINKS = {"verify_email", "reset_password", "change_email"}
NOTICES = {"account_exists", "password_changed", "email_change_requested", "email_changed"}
PAGES = {"verify_email": "verify-email", "reset_password": "password/reset", "change_email": "email/change"}
NEW = "a new passphrase for ada"
# The names that every context has, and those that the templates set themselves.
OF_DJANGO = {"True", "False", "None", "block", "csrf_token"}
SET_BY_TEMPLATES = {"language", "is_rtl", "done", "unanswered", "incomplete"}


class Mails(dict[str, Any]):
    """The seven emails, by template, and the variables that each of them was rendered with."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[str, set[str]] = defaultdict(set)

    def html(self, name: str) -> str:
        """Return the HTML part of an email."""
        ((html, _),) = self[name].alternatives
        return str(html)


@pytest.fixture
def mails(api: Api) -> Mails:
    """Cause each email by requests."""
    found = Mails()

    def note(template: Any, context: Any, **_: Any) -> None:
        match = re.fullmatch(r"ninja_auth_kit/email/(\w+)_message\.(txt|html)", template.name or "")
        if match:
            flat = context.flatten() if hasattr(context, "flatten") else dict(context)
            found.variables[match[1]] |= set(flat) - OF_DJANGO - SET_BY_TEMPLATES

    template_rendered.connect(note)
    try:
        cause_all(api)
    finally:
        template_rendered.disconnect(note)
    by_subject = {
        "Verify your": "verify_email",
        "You already": "account_exists",
        "Set a": "reset_password",
        "Your password": "password_changed",
        "Confirm your": "change_email",
        "Request to": "email_change_requested",
        "Your email": "email_changed",
    }
    for message in mail.outbox:
        found[by_subject[" ".join(message.subject.split()[:2])]] = message
    assert set(found) == LINKS | NOTICES
    return found


def cause_all(api: Api) -> None:
    api.register()
    token = mailed_token()
    assert api.post("verify-email", {"token": token, "password": PASSWORD}).status_code == 200
    api.register(username="another")
    api.post("password/reset", {"email": EMAIL})
    assert api.post("password/reset/confirm", {"token": mailed_token(), "new_password": NEW}).status_code == 204
    access = api.pair(EMAIL, NEW)["access_token"]
    api.post("email/change", {"new_email": "new@example.com", "password": NEW}, token=access)
    token = next(found[1] for one in mail.outbox if (found := re.search(r"email/change#token=(\S+)", str(one.body))))
    assert api.post("email/change/confirm", {"token": token}).status_code == 204


class Tags(HTMLParser):
    """The tags of an email, and its text without the hidden parts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_email_with_a_link_has_a_button_and_the_link_in_clear(mails: Mails) -> None:
    for name in LINKS:
        link = re.search(r"https://example\.com/\S+", mails[name].body)
        assert link is not None
        page = Tags(mails.html(name))

        assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == [link[0], link[0]]
        assert link[0] in page.text
        assert len(page.text.split(link[0])) == 2  # once as text; the other one has a label


def test_a_notice_has_no_link_so_that_a_forged_one_stands_out(mails: Mails) -> None:
    for name in NOTICES:
        assert "://" not in mails.html(name)
        assert "://" not in mails[name].body


def test_an_email_loads_nothing_and_names_its_language(mails: Mails) -> None:
    for name in mails:
        html = mails.html(name)
        page = Tags(html)
        assert {"img", "link", "script", "iframe", "object", "form"} & {tag for tag, _ in page.tags} == set()
        assert not re.search(r"url\(|@import|@font-face|\bsrc=|background=", html)
        assert [attributes["lang"] for tag, attributes in page.tags if "lang" in attributes] == ["en", "en"]
        assert {attributes.get("role") for tag, attributes in page.tags if tag == "table"} == {"presentation"}


def test_an_email_says_in_each_part_and_in_its_subject_who_sent_it(kit: Callable[..., None], api: Api) -> None:
    kit(SITE_NAME="Bücher & Söhne")
    cause_all(api)

    assert len(mail.outbox) == 7
    for message in mail.outbox:
        ((html, _),) = message.alternatives  # type: ignore[attr-defined]
        assert "Bücher & Söhne" in message.subject
        assert "Bücher & Söhne" in message.body
        assert "Bücher &amp; Söhne" in html
        assert "example.com" not in message.subject


def test_the_name_of_the_site_cannot_bring_markup(kit: Callable[..., None], api: Api) -> None:
    name = """</title><b onmouseover='x'>"Shop" {{ 7 }}"""
    kit(SITE_NAME=name)

    cause_all(api)

    for message in mail.outbox:
        ((html, _),) = message.alternatives  # type: ignore[attr-defined]
        assert name in message.subject
        assert "<b" not in html.replace("<body", "").replace("<br", "")
        assert "&lt;/title&gt;&lt;b onmouseover=&#x27;x&#x27;&gt;&quot;Shop&quot; {{ 7 }}" in html


def test_without_a_name_the_site_is_the_host_of_its_links(kit: Callable[..., None], api: Api) -> None:
    kit(BASE_URL="https://accounts.example.org:8443/below")

    api.register()

    assert mail.outbox[0].subject == "Verify your email address for accounts.example.org:8443"


def test_a_link_with_a_query_is_the_same_in_both_parts(kit: Callable[..., None], api: Api) -> None:
    kit(FRONTEND_URLS={"verify_email": "https://shop.example/verify?lang=en&copy=1"})

    api.register()

    ((html, _),) = mail.outbox[0].alternatives  # type: ignore[attr-defined]
    link = f"https://shop.example/verify?lang=en&copy=1#token={mailed_token()}"
    assert link in mail.outbox[0].body
    assert [attributes["href"] for tag, attributes in Tags(html).tags if tag == "a"] == [link, link]


def table() -> dict[str, tuple[str, str]]:
    """Return the table of the documentation: the emails and the pages that have each variable."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    rows = page.split("<!-- variables -->")[1].split("<!-- /variables -->")[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {name.strip("`"): (emails, pages) for name, emails, pages, _ in cells}


def listed(which: int, template: str) -> set[str]:
    """Return the variables that the documentation lists for a template."""
    return {
        name
        for name, cells in table().items()
        if cells[which].startswith("all") or f"`{template}`" in cells[which].split(", ")
    }


def test_the_documentation_lists_the_variables_of_each_email_and_no_others(mails: Mails) -> None:
    for name in mails:
        assert mails.variables[name] == listed(0, name), name


@pytest.mark.parametrize(("name", "path"), PAGES.items())
def test_the_documentation_lists_the_variables_of_each_page_and_no_others(name: str, path: str, api: Api) -> None:
    context = api.get(path).context

    assert set(context.keys()) - OF_DJANGO - SET_BY_TEMPLATES == listed(1, name)


def test_the_documentation_lists_the_blocks_of_the_layout() -> None:
    layout = (ROOT / "src/ninja_auth_kit/templates/ninja_auth_kit/email/base.html").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"{% block (\w+) %}", layout)

    assert re.findall(r"^- `(\w+)`: ", page.split("It has these blocks:")[1].split("The layout")[0], re.M) == blocks


# Each visible text with its contrast against the background that is behind it (WCAG 2.2, success
# criterion 1.4.3: at least 4.5).
CONTRASTS = """() => {
  const light = (text) => {
    const [r, g, b, a] = [...text.matchAll(/[\\d.]+/g)].map((one) => Number(one[0]));
    if (a === 0) return null;
    const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = light(getComputedStyle(at).backgroundColor);
      if (found !== null) return found;
    }
    return 1;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || parent.getClientRects().length === 0) continue;
    const [a, b] = [light(getComputedStyle(parent).color), behind(parent)].sort((x, y) => y - x);
    found.push([walker.currentNode.textContent.trim(), (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""


@pytest.mark.browser
@pytest.mark.one_user_model
@pytest.mark.one_django
def test_an_email_can_be_read_on_a_phone_and_in_dark_mode(mails: Mails, chromium: Browser) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        for width in (320, 800):
            page.set_viewport_size({"width": width, "height": 600})
            for name in mails:
                page.set_content(mails.html(name))
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                ratios = page.evaluate(CONTRASTS)
                assert len(ratios) >= 4
                assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == [], (name, scheme)
                button = page.get_by_role("link").first.bounding_box() if name in LINKS else {"height": 44}
                assert button is not None
                assert button["height"] >= 44
        context.close()
