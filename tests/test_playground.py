"""The example's page in a real browser: the flow, two devices, events, keyboard, a narrow screen."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.private_broker import free_port
from tests.test_example import Demo, database, demos

__all__ = ["chromium", "database", "demos"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.demo]


@pytest.fixture
def open_page(chromium: Browser, demos: Callable[..., Demo], database: str) -> Iterator[Callable[..., Page]]:
    """Return a function that starts a demo and opens its page. A script error fails the test."""
    contexts, failures = [], []

    def open_it(*, environment: dict[str, str] | None = None, **options: Any) -> Page:
        demo = demos(DATABASE_URL=database, **(environment or {}))
        demo.wait()
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda line: failures.append(line.text) if "Content Security" in line.text else None)
        page.goto(demo.url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert failures == []


def register(page: Page) -> None:
    """Register, open the email and verify the address."""
    page.get_by_role("button", name="Register").click()
    page.get_by_role("button", name="Open the email").click()
    page.get_by_role("button", name="Verify with the password").click()
    expect(page.locator("#exchange")).to_contain_text("200 OK")


def state(page: Page, device: str) -> Any:
    return page.locator(f"#{device}[data-state]")


def press(page: Page, device: str, what: str) -> None:
    page.locator(f"#{device}").get_by_role("button", name=what).click()


@pytest.mark.broker
def test_a_login_on_the_laptop_visibly_ends_the_phone_and_the_event_arrives(open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.locator("#broker")).to_contain_text("Connected to RabbitMQ")
    register(page)

    press(page, "phone", "Log in")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    press(page, "phone", "Write a note")
    expect(page.locator("#exchange")).to_contain_text("201 Created")
    press(page, "phone", "Refresh")
    expect(page.locator("#token")).to_contain_text("expires in 5:00")
    press(page, "laptop", "Log in")

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")
    expect(page.locator("#phone .screen")).to_contain_text("401 session_ended")
    events = page.locator("#events .event")
    expect(events).to_have_count(6)
    expect(events.first).to_contain_text("auth.session.login.success")
    expect(events.nth(1)).to_contain_text("auth.session.revoked.success")
    expect(events.nth(1)).to_contain_text("replaced · POST /login on the laptop")


def test_without_a_broker_the_page_says_so_and_counts_what_waits(open_page: Callable[..., Page]) -> None:
    page = open_page(environment={"RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": str(free_port())})

    expect(page.locator("#broker")).to_contain_text("No broker answers")
    expect(page.locator("#broker")).to_contain_text("0 events wait.")
    register(page)

    expect(page.locator("#broker")).to_contain_text("2 events wait.")


def test_the_rest_of_the_account_can_be_played(open_page: Callable[..., Page]) -> None:
    page = open_page(environment={"RABBITMQ_HOST": ""})
    expect(page.locator("#broker")).to_contain_text("RABBITMQ_HOST is empty")
    register(page)
    press(page, "phone", "Log in")
    press(page, "phone", "Sessions")
    expect(page.locator("#sessions")).to_contain_text("this session")
    page.get_by_text("Change the password or the email address").click()

    page.get_by_role("button", name="Change the password").click()
    expect(page.locator("#exchange")).to_contain_text("204 No Content")
    page.get_by_role("button", name="Send a reset email").click()
    page.get_by_role("button", name="Set the new password").click()
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")

    press(page, "phone", "Log in")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Change the email address").click()
    expect(page.locator("#mails")).to_contain_text("valid for 1\u00a0day")
    page.get_by_role("button", name="Confirm the new email address").click()
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")
    press(page, "phone", "Log in")
    expect(page.locator("#phone .screen")).to_contain_text("moved@example.com")
    press(page, "phone", "Log out")
    expect(page.locator("#phone .screen")).to_contain_text("Logged out")


def test_a_refused_login_says_why_and_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_label("Password", exact=True).fill("not the password at all")

    press(page, "phone", "Log in")

    expect(page.locator("#phone .screen")).to_contain_text("401 invalid_credentials")
    expect(state(page, "phone")).to_have_attribute("data-state", "out")
    expect(page.locator("#phone").get_by_role("button", name="Refresh")).to_be_disabled()


def test_the_keyboard_is_enough_and_shows_where_it_is(open_page: Callable[..., Page]) -> None:
    page = open_page()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the forms")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Register")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")

    assert outline == "solid"
    expect(page.locator("#exchange")).to_contain_text("202 Accepted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_the_width_of_a_phone(open_page: Callable[..., Page], scheme: Any) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
    register(page)
    press(page, "phone", "Log in")

    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")


def test_the_page_loads_nothing_from_anywhere_else(open_page: Callable[..., Page]) -> None:
    page = open_page()

    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)")
    here = page.evaluate("location.origin")

    assert set(loaded) == {here}
