"""The example's page in a real browser: two devices, passkeys, cookie mode, events, keyboard, a narrow screen."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pyotp
import pytest
from django.utils import timezone
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.browser import chromium
from tests.private_broker import free_port
from tests.test_example import Demo, database, demos

__all__ = ["chromium", "database", "demos"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.demo]

DELETE = "Delete all notes (needs a second factor)"
# A laptop with a fingerprint reader.
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
WITHOUT_BROKER = {"RABBITMQ_HOST": ""}


@pytest.fixture
def open_page(chromium: Browser, demos: Callable[..., Demo], database: str) -> Iterator[Callable[..., Page]]:
    """Return a function that starts a demo and opens its page. A script error fails the test."""
    contexts, failures = [], []

    def open_it(*, environment: dict[str, str] | None = None, script: str = "", **options: Any) -> Page:
        demo = demos(DATABASE_URL=database, **(environment or {}))
        demo.wait()
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(script)
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
    page.locator(f"#{device}").get_by_role("button", name=what, exact=True).click()


def click(page: Page, what: str) -> None:
    """Press a button for second factors."""
    page.locator("#factors").get_by_role("button", name=what, exact=True).click()


def log_in(page: Page, device: str) -> None:
    """Log in on a device, and wait until the page shows it."""
    press(page, device, "Log in")
    expect(state(page, device)).to_have_attribute("data-state", "live")


def show_the_code(page: Page) -> None:
    """Press the button, and wait for the code."""
    click(page, "Show the code, as an app does")
    expect(page.get_by_label("Code of the app")).not_to_have_value("")


def add_an_app(page: Page) -> None:
    """Add an authenticator app, and wait until the page shows the recovery codes."""
    page.locator("#factors summary").click()
    click(page, "Add an authenticator app")
    expect(page.locator("#secret")).to_be_visible()
    show_the_code(page)
    click(page, "Confirm the app")
    expect(page.locator("#codes")).to_contain_text("-")


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
    page = open_page(environment=WITHOUT_BROKER)
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


def test_a_second_factor_is_added_asked_for_and_removed(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register(page)
    press(page, "phone", "Log in")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    page.locator("#factors summary").click()
    factors, exchange = page.locator("#factors"), page.locator("#exchange")

    click(page, DELETE)
    expect(exchange).to_contain_text("401 Unauthorized")
    expect(exchange).to_contain_text("insufficient_user_authentication")
    click(page, "Add an authenticator app")
    picture = factors.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth > 100)")
    secret = page.locator("#secret").inner_text()
    # The code of the step before, so that the present one and the next one are left.
    factors.get_by_label("Code of the app").fill(pyotp.TOTP(secret).at(timezone.now(), counter_offset=-1))
    click(page, "Confirm the app")
    codes = page.locator("#codes")
    expect(codes).to_contain_text("-")
    spare = codes.inner_text().splitlines()
    assert len(spare) == 10
    click(page, DELETE)
    expect(exchange).to_contain_text("204 No Content")

    press(page, "laptop", "Log in")
    expect(state(page, "laptop")).to_have_attribute("data-state", "pending")
    press(page, "phone", "Write a note")
    expect(exchange).to_contain_text("201 Created")
    show_the_code(page)
    click(page, "Complete the login")
    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")

    factors.get_by_label("Code of the app").fill(spare[0])
    click(page, "Step up")
    expect(exchange).to_contain_text('"acr": "aal2"')
    click(page, "Remove")
    expect(exchange).to_contain_text("204 No Content")
    press(page, "phone", "Log in")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")


def test_a_wrong_code_leaves_the_other_device_logged_in(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register(page)
    press(page, "phone", "Log in")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    add_an_app(page)

    press(page, "laptop", "Log in")
    expect(state(page, "laptop")).to_have_attribute("data-state", "pending")
    page.get_by_label("Code of the app").fill("not a code")
    click(page, "Complete the login")

    expect(page.locator("#laptop .screen")).to_contain_text("401 invalid_factor")
    press(page, "phone", "Write a note")
    expect(page.locator("#exchange")).to_contain_text("201 Created")


class Authenticator:
    """A virtual authenticator of the browser, which answers as its user would."""

    def __init__(self, page: Page) -> None:
        self.cdp: CDPSession = page.context.new_cdp_session(page)
        self.cdp.send("WebAuthn.enable", {"enableUI": False})
        self.id = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]

    def count(self) -> int:
        """Return how many passkeys it has."""
        return len(self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"])

    def recognises_user(self, yes: bool) -> None:
        """Let the next checks of the fingerprint succeed or fail. If they fail, the dialog ends without a passkey."""
        self.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": yes})

    def is_touched(self, yes: bool) -> None:
        """Let the user touch it and choose from the list of autofill at once, or never."""
        self.cdp.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": self.id, "enabled": yes})


def wait_for_autofill(page: Page) -> None:
    """Wait until the page has asked the browser to offer passkeys."""
    expect(page.locator("#calls li").first).to_contain_text("login/passkey/options 200")
    page.evaluate("new Promise(setTimeout)")  # the page asks in the task in which it lists the request


def register_with_passkey(page: Page) -> Authenticator:
    """Register, log in on the phone and add a passkey."""
    authenticator = Authenticator(page)
    register(page)
    log_in(page, "phone")
    page.locator("#factors summary").click()
    click(page, "Add a passkey")
    expect(page.locator("#factor-list")).to_contain_text("passkey: this browser, 10 recovery codes left")
    return authenticator


def test_a_passkey_is_added_and_logs_in_without_a_password(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    authenticator = register_with_passkey(page)
    assert authenticator.count() == 1
    assert len(page.locator("#codes").inner_text().splitlines()) == 10
    address = page.get_by_label("Email address", exact=True)
    owner = address.input_value()
    address.fill("someone-else@example.com")
    page.get_by_label("Password", exact=True).fill("")

    press(page, "laptop", "Log in with a passkey")

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(page.locator("#laptop .screen")).to_contain_text(owner)
    expect(address).to_have_value(owner)
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")
    expect(page.locator("#token")).to_contain_text("aal2")


def test_a_password_waits_for_the_passkey_and_the_other_device_stays_logged_in(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register_with_passkey(page)
    complete = page.get_by_role("button", name="Complete the login with a passkey")
    expect(complete).to_be_disabled()

    press(page, "laptop", "Log in")
    expect(state(page, "laptop")).to_have_attribute("data-state", "pending")
    expect(page.locator("#laptop .screen")).to_contain_text("passkey, recovery_code")
    press(page, "phone", "Write a note")
    expect(page.locator("#exchange")).to_contain_text("201 Created")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    complete.click()

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")
    expect(complete).to_be_disabled()


def test_a_step_up_with_a_passkey_opens_the_route_that_needs_it(open_page: Callable[..., Page], database: str) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    exchange = page.locator("#exchange")
    register_with_passkey(page)
    with psycopg.connect(database.replace("postgres://", "postgresql://")) as writer:
        writer.execute("UPDATE ninja_auth_kit_usersession SET authenticated_at = now() - interval '6 minutes'")
    press(page, "phone", "Refresh")
    expect(exchange).to_contain_text("POST /api/auth/refresh")
    expect(exchange).to_contain_text("200 OK")
    click(page, DELETE)
    expect(exchange).to_contain_text("401 Unauthorized")
    expect(exchange).to_contain_text("insufficient_user_authentication")

    click(page, "Step up with a passkey")
    expect(exchange).to_contain_text("POST /api/auth/step-up/passkey HTTP")
    expect(exchange).to_contain_text('"acr": "aal2"')
    click(page, DELETE)

    expect(exchange).to_contain_text("204 No Content")


def test_a_cancelled_dialog_says_so_and_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    screen = page.locator("#phone .screen")
    authenticator = Authenticator(page)
    register(page)
    log_in(page, "phone")
    page.locator("#factors summary").click()
    authenticator.recognises_user(yes=False)

    click(page, "Add a passkey")
    expect(screen).to_contain_text("No passkey used")
    expect(screen).to_contain_text("The dialog was closed, the time ran out")
    expect(screen).to_contain_text("NotAllowedError")
    assert authenticator.count() == 0
    press(page, "laptop", "Log in with a passkey")
    expect(page.locator("#laptop .screen")).to_contain_text("NotAllowedError")

    expect(state(page, "laptop")).to_have_attribute("data-state", "out")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    authenticator.recognises_user(yes=True)
    click(page, "Add a passkey")
    expect(page.locator("#factor-list")).to_contain_text("passkey: this browser")
    click(page, "Add a passkey")
    expect(screen).to_contain_text("This device already has a passkey of this account.")


def test_a_browser_without_passkeys_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER, script="delete window.PublicKeyCredential")

    press(page, "phone", "Log in with a passkey")

    expect(page.locator("#phone .screen")).to_contain_text("This browser does not support passkeys")
    expect(page.locator("#phone .screen")).to_contain_text("NotSupportedError")
    expect(state(page, "phone")).to_have_attribute("data-state", "out")


def test_at_an_ip_address_the_page_says_where_passkeys_work(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    address = page.url
    page.goto(address.replace("localhost", "127.0.0.1"))

    press(page, "phone", "Log in with a passkey")

    expect(page.locator("#phone .screen")).to_contain_text(f"Open {address} instead.")


def test_the_browser_offers_passkeys_in_the_field_for_the_email_address(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    authenticator = register_with_passkey(page)
    owner = page.get_by_label("Email address", exact=True).input_value()

    authenticator.is_touched(yes=False)
    page.reload()
    wait_for_autofill(page)
    expect(state(page, "laptop")).to_have_attribute("data-state", "out")
    expect(page.get_by_label("Email address", exact=True)).to_have_attribute("autocomplete", "username webauthn")
    # The button replaces what waits, because a browser runs one ceremony at a time.
    authenticator.is_touched(yes=True)
    press(page, "phone", "Log in with a passkey")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    expect(state(page, "laptop")).to_have_attribute("data-state", "out")

    page.reload()  # the user of the virtual authenticator chooses at once

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(page.locator("#laptop .screen")).to_contain_text(owner)


def memory_of(page: Page) -> str:
    """Return everything that the scripts of the page have in memory, as a heap snapshot."""
    cdp, chunks = page.context.new_cdp_session(page), []
    cdp.on("HeapProfiler.addHeapSnapshotChunk", lambda event: chunks.append(event["chunk"]))
    cdp.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    cdp.detach()
    return "".join(chunks)


def refresh_cookies(page: Page) -> list[str]:
    """Return the refresh tokens that the browser keeps in cookies."""
    return [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "__Host-authkit-refresh"]


EMAILED_CODE = "Log in with an emailed code"


def enter_the_code(page: Page) -> None:
    """Take the code from the newest email, and log in with it."""
    page.get_by_role("button", name="Enter the code").first.click()
    page.get_by_role("button", name="Log in with the code").click()


def test_an_emailed_code_registers_and_logs_in(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    address = page.get_by_label("Email address").first.input_value()

    press(page, "phone", EMAILED_CODE)
    expect(page.locator("#phone .screen")).to_contain_text("Code requested")
    enter_the_code(page)
    expect(page.locator("#phone .screen")).to_contain_text(address)
    press(page, "laptop", EMAILED_CODE)
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("button", name="Enter the code")).to_have_count(2)
    enter_the_code(page)

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")


def test_a_wrong_emailed_code_leaves_the_other_device_logged_in(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register(page)
    log_in(page, "phone")

    press(page, "laptop", EMAILED_CODE)
    page.get_by_label("Code from the email").fill("BBBB-BBBB")
    page.get_by_role("button", name="Log in with the code").click()

    expect(page.locator("#laptop .screen")).to_contain_text("401 invalid_factor")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    enter_the_code(page)
    expect(state(page, "laptop")).to_have_attribute("data-state", "live")


def test_after_an_emailed_code_the_second_factor_is_asked_for(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register(page)
    log_in(page, "phone")
    add_an_app(page)

    press(page, "laptop", EMAILED_CODE)
    enter_the_code(page)
    expect(page.locator("#laptop .screen")).to_contain_text("202 factor_required")
    show_the_code(page)
    click(page, "Complete the login")

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")


def test_an_api_key_reads_does_not_write_and_is_revoked(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    register(page)
    log_in(page, "phone")
    press(page, "phone", "Write a note")
    page.get_by_role("heading", name="API keys").click()
    panel, exchange = page.locator("#api-keys"), page.locator("#exchange")

    panel.get_by_role("button", name="Create a key").click()
    expect(panel).to_contain_text("nakp_")
    press(page, "phone", "Log out")
    panel.get_by_role("button", name="Read the notes with the key").click()
    expect(exchange).to_contain_text("200 OK")
    expect(exchange).to_contain_text("from the phone")
    panel.get_by_role("button", name="Write a note with the key").click()
    expect(exchange).to_contain_text("insufficient_scope")
    log_in(page, "laptop")
    panel.get_by_role("button", name="List").click()
    panel.get_by_role("button", name="Revoke").click()
    expect(exchange).to_contain_text("204 No Content")
    panel.get_by_role("button", name="Read the notes with the key").click()

    expect(exchange).to_contain_text("401 Unauthorized")


PROVIDER = "Log in with Example ID"


def choose(page: Page, account: str, button: Callable[[], None], *, seconds: float = 0) -> None:
    """Press a button that opens the window of the provider, and log in there after so many seconds."""
    with page.expect_popup() as opened:
        button()
    link = opened.value.get_by_role("link", name=account, exact=True)
    link.wait_for()
    page.wait_for_timeout(seconds * 1000)
    link.click()


def test_a_provider_registers_logs_in_and_refuses(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)

    choose(page, "newcomer", lambda: press(page, "phone", PROVIDER))
    expect(state(page, "phone")).to_have_attribute("data-state", "live")
    expect(page.get_by_label("Email address").first).to_have_value("newcomer@example.net")
    choose(page, "ada", lambda: press(page, "laptop", PROVIDER))
    expect(page.locator("#laptop .screen")).to_contain_text("409 account_exists")
    choose(page, "unverified", lambda: press(page, "laptop", PROVIDER))
    expect(page.locator("#laptop .screen")).to_contain_text("403 email_not_verified")
    expect(state(page, "phone")).to_have_attribute("data-state", "live")

    choose(page, "newcomer", lambda: press(page, "laptop", PROVIDER))
    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(state(page, "phone")).to_have_attribute("data-state", "ended")


def test_a_provider_is_linked_steps_up_and_is_unlinked(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    page.get_by_label("Email address").first.fill("ada@example.com")
    page.get_by_label("Password", exact=True).fill("ada likes long passwords")
    log_in(page, "phone")
    page.get_by_text("Login with a provider").click()
    panel = page.locator("#providers")

    choose(page, "ada", panel.get_by_role("button", name="Link Example ID").click)
    expect(panel).to_contain_text("example: ada@example.com")
    choose(page, "ada", panel.get_by_role("button", name="Step up with Example ID").click)
    expect(page.locator("#exchange")).to_contain_text('"acr": "aal1"')
    panel.get_by_role("button", name="Unlink").click()

    expect(panel).not_to_contain_text("example: ada@example.com")


def test_a_closed_window_of_the_provider_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)

    with page.expect_popup() as opened:
        press(page, "phone", PROVIDER)
    opened.value.get_by_role("link", name="ada", exact=True).wait_for()
    opened.value.close()
    button = page.locator("#phone").get_by_role("button", name=PROVIDER)
    expect(button).to_have_attribute("aria-busy", "false")
    expect(page.locator("#phone .screen")).to_contain_text("Not logged in")

    choose(page, "newcomer", lambda: press(page, "phone", PROVIDER))
    expect(state(page, "phone")).to_have_attribute("data-state", "live")


def test_a_user_may_take_some_time_at_the_provider(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)

    choose(page, "newcomer", lambda: press(page, "phone", PROVIDER), seconds=3)

    expect(state(page, "phone")).to_have_attribute("data-state", "live")


def test_in_cookie_mode_a_provider_sets_the_cookie(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    page.get_by_label("Keep the refresh token in a cookie").check()

    choose(page, "newcomer", lambda: press(page, "laptop", PROVIDER))

    expect(page.locator("#laptop .screen")).to_contain_text("refresh token in a cookie")


def test_in_cookie_mode_the_page_never_has_the_refresh_token(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    exchange, laptop = page.locator("#exchange"), page.locator("#laptop .screen")
    switch = page.get_by_label("Keep the refresh token in a cookie")
    register(page)
    switch.check()

    log_in(page, "laptop")
    expect(exchange).to_contain_text("X-AuthKit-Transport: cookie")
    expect(exchange).to_contain_text('"refresh_expires_in"')
    expect(exchange).not_to_contain_text('"refresh_token"')
    expect(laptop).to_contain_text("refresh token in a cookie")
    expect(switch).to_be_disabled()
    (first,) = refresh_cookies(page)
    assert "nakr_" not in memory_of(page)
    assert page.evaluate("document.cookie") == ""

    press(page, "laptop", "Refresh")
    expect(exchange).to_contain_text("POST /api/auth/refresh")
    expect(exchange).to_contain_text("200 OK")
    expect(exchange).not_to_contain_text('"refresh_token"')
    (second,) = refresh_cookies(page)
    assert second != first
    assert "nakr_" not in memory_of(page)

    press(page, "laptop", "Log out")
    expect(exchange).to_contain_text("POST /api/auth/logout")
    expect(exchange).to_contain_text("204 No Content")
    assert refresh_cookies(page) == []
    press(page, "laptop", "Refresh")
    expect(laptop).to_contain_text("401 invalid_token")
    expect(state(page, "laptop")).to_have_attribute("data-state", "out")

    log_in(page, "phone")
    expect(page.locator("#phone .screen")).to_contain_text("refresh token in memory")
    assert refresh_cookies(page) == []
    assert "nakr_" in memory_of(page)


def test_a_session_in_the_cookie_survives_a_reload(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    switch, refresh = page.get_by_label("Keep the refresh token"), page.locator("#laptop [data-do=refresh]")
    register(page)
    owner = page.get_by_label("Email address", exact=True).input_value()
    switch.check()
    log_in(page, "laptop")

    page.reload()
    expect(switch).not_to_be_checked()
    expect(refresh).to_be_disabled()
    switch.check()
    refresh.click()

    expect(state(page, "laptop")).to_have_attribute("data-state", "live")
    expect(page.locator("#laptop .screen")).to_contain_text(owner)


def test_in_cookie_mode_a_passkey_replaces_the_cookie_and_the_page_has_no_refresh_token(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    authenticator = Authenticator(page)
    register(page)
    page.get_by_label("Keep the refresh token").check()
    log_in(page, "laptop")
    (first,) = refresh_cookies(page)
    page.locator("#factors summary").click()

    click(page, "Add a passkey")
    expect(page.locator("#factor-list")).to_contain_text("passkey: this browser")
    (second,) = refresh_cookies(page)
    assert second != first
    click(page, "Step up with a passkey")
    expect(page.locator("#exchange")).to_contain_text("POST /api/auth/step-up/passkey HTTP")
    expect(page.locator("#laptop .screen")).to_contain_text("refresh token in a cookie")

    authenticator.is_touched(yes=False)  # otherwise autofill logs in at once
    press(page, "laptop", "Log out")
    expect(state(page, "laptop")).to_have_attribute("data-state", "out")
    assert refresh_cookies(page) == []
    wait_for_autofill(page)
    authenticator.is_touched(yes=True)
    press(page, "laptop", "Log in with a passkey")
    expect(page.locator("#laptop .screen")).to_contain_text("refresh token in a cookie")
    assert len(refresh_cookies(page)) == 1
    assert "nakr_" not in memory_of(page)


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


def test_the_switch_of_cookie_mode_works_by_the_keyboard_and_has_a_description(open_page: Callable[..., Page]) -> None:
    page = open_page(environment=WITHOUT_BROKER)
    switch = page.get_by_role("checkbox", name="Keep the refresh token in a cookie")
    refresh = page.locator("#laptop [data-do=refresh]")
    expect(switch).to_have_accessible_description(re.compile("Log out on the laptop to change the switch"))

    page.locator("#laptop").get_by_role("button", name=PROVIDER).focus()
    page.keyboard.press("Tab")
    expect(switch).to_be_focused()
    page.keyboard.press("Space")
    expect(switch).to_be_checked()
    expect(refresh).to_be_enabled()
    page.keyboard.press("Space")
    expect(refresh).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_the_width_of_a_phone(open_page: Callable[..., Page], scheme: Any) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
    register_with_passkey(page)
    page.get_by_role("heading", name="API keys").click()
    page.get_by_role("button", name="Create a key").click()
    expect(page.locator("#key-list")).to_contain_text("nakp_")
    press(page, "laptop", "Log in")

    expect(state(page, "laptop")).to_have_attribute("data-state", "pending")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")


def test_the_page_loads_nothing_from_anywhere_else(open_page: Callable[..., Page]) -> None:
    page = open_page()

    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)")
    here = page.evaluate("location.origin")

    assert set(loaded) == {here}
