"""The pages behind the links in emails, in a real browser: double clicks, reloads, new links, keyboard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from playwright.sync_api import Browser, Page, Route, expect

from ninja_auth_kit.models import EmailAddress
from tests.browser import chromium, served
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token, recorded

__all__ = ["chromium"]  # a fixture

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.browser,
    pytest.mark.one_user_model,
    pytest.mark.one_django,
]

NEW = "a new passphrase for ada"


@pytest.fixture
def open_link(chromium: Browser, kit: Callable[..., None]) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page of the kit, without cookies. An error of its script fails the test."""
    kit(SITE_NAME="Ada & Sons")
    context = chromium.new_context()
    failures: list[str] = []

    def open_it(path: str, token: str | None) -> Page:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda line: failures.append(line.text) if "Content Security" in line.text else None)
        page.goto(f"{url}/api/auth/{path}" + ("" if token is None else f"#token={token}"))
        return page

    with served() as url:
        yield open_it
        assert context.cookies() == []
        context.close()
    assert failures == []


class Requests:
    """The POST requests of a page. Those sent in `with requests.held():` are answered after it."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str] = []
        self._waiting: list[Route] | None = None
        page.route("**/api/auth/**", self._handle)

    def _handle(self, route: Route) -> None:
        if route.request.method == "POST":
            self.sent.append(route.request.url.rpartition("/api/auth/")[2])
            if self._waiting is not None:
                self._waiting.append(route)
                return
        route.continue_()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._waiting = []
        yield
        waiting, self._waiting = self._waiting, None
        for route in waiting:
            route.continue_()


def answer(page: Page) -> Any:
    return page.get_by_role("status")


def registered(api: Api) -> str:
    """Register, and return the token of the email."""
    api.register()
    return mailed_token()


def reset_requested(api: Api, make_user: Callable[..., Any]) -> str:
    """Request a new password, and return the token of the email."""
    make_user()
    api.post("password/reset", {"email": EMAIL})
    return mailed_token()


def change_requested(api: Api, make_user: Callable[..., Any]) -> str:
    """Request another email address, and return the token of the email."""
    make_user()
    access = api.pair()["access_token"]
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=access)
    return mailed_token(0)


def test_a_double_click_verifies_once_and_the_result_stays(api: Api, open_link: Callable[..., Page]) -> None:
    page = open_link("verify-email", registered(api))
    requests = Requests(page)
    page.get_by_label("The password").fill(PASSWORD)

    with requests.held():
        page.get_by_role("button", name="Verify").dblclick()

    expect(answer(page)).to_have_text("Your email address is verified. You can log in now.")
    expect(page.get_by_role("button")).to_have_count(0)
    assert requests.sent == ["verify-email"]
    page.reload()
    expect(answer(page)).to_have_text("Your email address is verified. You can log in now.")
    expect(page.get_by_role("button")).to_have_count(0)
    assert recorded("failure") == 0
    assert EmailAddress.objects.get().verified_at is not None


def test_a_double_click_sets_the_password_once_and_the_result_stays(
    api: Api, make_user: Callable[..., Any], open_link: Callable[..., Page]
) -> None:
    page = open_link("password/reset", reset_requested(api, make_user))
    requests = Requests(page)
    page.get_by_label("New password").fill(NEW)

    with requests.held():
        page.get_by_role("button", name="Set the new password").dblclick()

    expect(answer(page)).to_have_text("Your new password has been set. You can log in now.")
    expect(page.get_by_label("New password")).to_be_hidden()
    assert requests.sent == ["password/reset/confirm"]
    page.reload()
    expect(answer(page)).to_have_text("Your new password has been set. You can log in now.")
    assert api.login(password=NEW).status_code == 200


def test_a_double_click_changes_the_address_once_and_the_result_stays(
    api: Api, make_user: Callable[..., Any], open_link: Callable[..., Page]
) -> None:
    page = open_link("email/change", change_requested(api, make_user))
    requests = Requests(page)

    with requests.held():
        page.get_by_role("button", name="Confirm").dblclick()

    done = "Your email address has been changed. Log in with the new email address."
    expect(answer(page)).to_have_text(done)
    expect(page.get_by_role("button")).to_have_count(0)
    assert requests.sent == ["email/change/confirm"]
    page.reload()
    expect(answer(page)).to_have_text(done)
    assert get_user_model().objects.get().email == "new@example.com"


def test_enter_held_down_sends_once_and_the_keyboard_stays_where_it_was(
    api: Api, open_link: Callable[..., Page]
) -> None:
    page = open_link("verify-email", registered(api))
    requests = Requests(page)

    expect(page.get_by_label("The password")).to_be_focused()
    page.keyboard.type("not the password")
    with requests.held():
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.keyboard.down("Enter")
    expect(answer(page)).to_contain_text("The link or the password is not valid.")
    page.keyboard.down("Enter")  # the key repeats
    page.keyboard.up("Enter")

    expect(page.get_by_label("The password")).to_be_focused()
    assert requests.sent == ["verify-email"]
    page.get_by_label("The password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("is verified")
    expect(answer(page)).to_be_focused()


def test_a_used_link_says_what_to_do_and_a_new_one_comes_by_keyboard_alone(
    api: Api, make_user: Callable[..., Any], open_link: Callable[..., Page]
) -> None:
    token = reset_requested(api, make_user)
    api.post("password/reset/confirm", {"token": token, "new_password": NEW})
    page = open_link("password/reset", token)
    page.keyboard.type("another passphrase of ada")
    page.keyboard.press("Enter")

    expect(answer(page)).to_contain_text("If you have used it, log in.")
    expect(page.get_by_label("New password")).to_be_hidden()
    expect(page.get_by_role("form", name="Request a new link")).to_be_visible()
    expect(answer(page)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Your email address")).to_be_focused()
    page.keyboard.type(EMAIL)
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("If there is an account with this email address")
    link = mailed_token()
    assert link != token
    again = open_link("password/reset", link)
    again.get_by_label("New password").fill("another passphrase of ada")
    again.get_by_role("button").click()
    expect(answer(again)).to_contain_text("has been set")


def test_a_new_link_is_promised_in_the_same_words_whoever_asks(api: Api, open_link: Callable[..., Page]) -> None:
    registered(api)
    said = []
    for path in ("verify-email", "password/reset"):
        for email in (EMAIL, "nobody@example.com"):
            page = open_link(path, None)
            expect(answer(page)).to_contain_text("This link is incomplete.")
            page.get_by_label("Your email address").fill(email)
            with Requests(page).held():
                page.get_by_role("button", name="Send a new link").dblclick()
            expect(answer(page)).to_contain_text("you will receive an email")
            said.append((path, answer(page).text_content()))

    assert len(said) == 4
    assert len(set(said)) == 2
    assert [message.to for message in mail.outbox] == [[EMAIL]] * 3  # registration, resend and reset, each once


def test_a_verification_link_that_has_expired_leads_to_a_new_one(
    api: Api, kit: Callable[..., None], open_link: Callable[..., Page]
) -> None:
    registered(api)
    kit(EMAIL_VERIFICATION_REQUIRES_PASSWORD=False, SITE_NAME="Ada & Sons")
    page = open_link("verify-email", "nako_" + "x" * 43)

    page.get_by_role("button", name="Verify").click()

    expect(answer(page)).to_contain_text("has expired or was already used")
    expect(page.get_by_role("button", name="Verify")).to_be_hidden()
    page.get_by_label("Your email address").fill(EMAIL)
    page.get_by_role("button", name="Send a new link").click()
    expect(answer(page)).to_contain_text("a new link")
    page = open_link("verify-email", mailed_token())
    page.get_by_role("button", name="Verify").click()
    expect(answer(page)).to_contain_text("is verified")


def test_a_new_link_for_a_change_needs_a_login_and_the_page_says_so(open_link: Callable[..., Page]) -> None:
    page = open_link("email/change", "nako_" + "x" * 43)

    page.get_by_role("button", name="Confirm").click()

    expect(page.get_by_text("log in and request the change of the email address again")).to_be_visible()
    expect(page.get_by_role("textbox")).to_have_count(0)


def test_a_lost_answer_is_not_a_dead_end(
    api: Api, make_user: Callable[..., Any], open_link: Callable[..., Page]
) -> None:
    page = open_link("email/change", change_requested(api, make_user))

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/confirm", lose, times=1)
    page.get_by_role("button", name="Confirm").click()
    expect(answer(page)).to_have_text("The server did not respond. Try again.")

    page.get_by_role("button", name="Confirm").click()

    expect(answer(page)).to_contain_text("If you have used it, log in.")
    assert get_user_model().objects.get().email == "new@example.com"


@pytest.mark.parametrize("path", ["verify-email", "password/reset", "email/change"])
def test_a_page_names_its_site_and_fits_a_phone(path: str, open_link: Callable[..., Page]) -> None:
    for token in ("nako_x", None):
        page = open_link(path, token)
        page.set_viewport_size({"width": 320, "height": 600})

        assert page.title().endswith("| Ada & Sons")
        expect(page.get_by_text("Ada & Sons", exact=True)).to_be_visible()
        assert "token" not in page.url
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
