"""Cookie mode in a real browser, with a page of the site, one of another port, and one of another site."""

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from pytest_django import Settings

from ninja_auth_kit.models import UserSession
from tests.browser import chromium, served
from tests.conftest import EMAIL, PASSWORD
from tests.features.cookies.page import REFRESH
from tests.servers import ROOT

__all__ = ["chromium"]  # a fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

# What the page of an attacker tries, and what its script sees of each answer.
ATTACKS = """
async ([site, email, password]) => {
  const seen = {};
  const login = JSON.stringify({ email, password });
  for (const path of ["login", "refresh", "logout"]) {
    const body = path === "login" ? login : undefined;
    const headers = { "X-AuthKit-Transport": "cookie", "Content-Type": "application/json" };
    const tries = {
      asked: { credentials: "include", headers },
      simple: { credentials: "include", mode: "no-cors" },
    };
    for (const [name, options] of Object.entries(tries)) {
      seen[`${path} ${name}`] = await fetch(`${site}/api/auth/${path}`, { method: "POST", body, ...options })
        .then((answer) => answer.status, () => "blocked");
    }
  }
  return seen;
}
"""
FORM = """
([site, path]) => {
  document.body.innerHTML = `<form method="post" enctype="text/plain" action="${site}/api/auth/${path}"></form>`;
  setTimeout(() => document.forms[0].submit()); // after the answer to the test
}
"""
REQUEST = """
async ([path, body]) => {
  const headers = { "X-AuthKit-Transport": "cookie", "Content-Type": "application/json" };
  const answer = await fetch(`/api/auth/${path}`, { method: "POST", headers, body: body && JSON.stringify(body) });
  return [answer.status, answer.status === 204 ? null : await answer.json()];
}
"""
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}


class Elsewhere(BaseHTTPRequestHandler):
    """The server of an attacker, which answers every request with an empty page."""

    def do_GET(self) -> None:
        """Answer with an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def attacker() -> Iterator[int]:
    """Serve the attacker's page on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.daemon_threads = True  # a browser opens connections that it does not use
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def middleware() -> list[str]:
    return []


@pytest.fixture
def site(user: Any, kit: Callable[..., None], settings: Settings, middleware: list[str]) -> Iterator[str]:
    # As a careless project has it: every origin, with credentials and the header of cookie mode.
    settings.CORS_ALLOW_ALL_ORIGINS = settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_ALLOW_HEADERS = ["content-type", "x-authkit-transport"]
    settings.MIDDLEWARE = middleware
    with served() as url:
        kit(BASE_URL=url)
        yield url


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context()
    yield opened
    opened.close()


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(url)
    return page


def refresh_cookie(context: BrowserContext) -> Any:
    """Return the cookie of the refresh token that the browser keeps, or None. The kit sets no other one."""
    found = context.cookies()
    assert [cookie["name"] for cookie in found] in ([], [REFRESH])
    return found[0] if found else None


@pytest.mark.security("COOK-01")
def test_a_page_of_the_site_refreshes_with_a_cookie_that_its_scripts_cannot_read(
    site: str, context: BrowserContext
) -> None:
    page = opened(context, f"{site}/api/auth/verify-email")

    status, body = page.evaluate(REQUEST, ["login", CREDENTIALS])
    assert (status, "refresh_token" in body) == (200, False)
    first = refresh_cookie(context)
    assert (first["httpOnly"], first["secure"], first["sameSite"], first["path"]) == (True, True, "Strict", "/")
    assert page.evaluate("document.cookie") == ""

    page.reload()
    status, body = page.evaluate(REQUEST, ["refresh", None])
    assert (status, "refresh_token" in body) == (200, False)
    assert refresh_cookie(context)["value"] != first["value"]

    assert page.evaluate(REQUEST, ["logout", None]) == [204, None]
    assert refresh_cookie(context) is None
    assert page.evaluate(REQUEST, ["refresh", None])[0] == 401


@pytest.mark.demo
def test_the_fetch_wrapper_refreshes_by_the_cookie_and_survives_a_reload(
    site: str, context: BrowserContext, kit: Callable[..., None]
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=6)
    code = b64encode((ROOT / "examples" / "fetch" / "authkit.js").read_bytes()).decode()
    script = """async ([code, credentials]) => {
      const { AuthSession } = await import(`data:text/javascript;base64,${code}`);
      const codes = [];
      const session = new AuthSession("/api/auth", { cookies: true, onSignedOut: (code) => codes.push(code) });
      const me = () => session.fetch("/api/auth/me").then((answer) => answer.status);
      const said = { restored: await session.restore() };
      if (credentials) await session.login(credentials);
      said.first = await me();
      if (session.isSignedIn) await new Promise((wake) => setTimeout(wake, 6100));
      said.later = await Promise.all([me(), me(), me()]);
      if (!credentials) await session.logout();
      return { ...said, kept: Object.keys(session.store.get() ?? {}).sort(), codes };
    }"""
    page = opened(context, f"{site}/api/auth/no-such-page")  # it has no policy that forbids the import
    kept = ["access_token", "acr", "expires_in", "refresh_expires_in", "session_id", "token_type"]

    in_tab = page.evaluate(script, [code, CREDENTIALS])
    assert in_tab == {"restored": False, "first": 200, "later": [200] * 3, "kept": kept, "codes": []}
    page.reload()
    reloaded = page.evaluate(script, [code, None])
    assert reloaded == {"restored": True, "first": 200, "later": [200] * 3, "kept": [], "codes": []}
    assert refresh_cookie(context) is None
    page.reload()
    after = page.evaluate(script, [code, None])
    assert after == {"restored": False, "first": 401, "later": [401] * 3, "kept": [], "codes": []}


# Another port is another origin of the same site, so the browser sends the cookie in spite of SameSite.
@pytest.mark.security("COOK-02")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    ("middleware", "asked"),
    [([], "blocked"), (["corsheaders.middleware.CorsMiddleware"], 403)],
    ids=["without CORS", "with CORS for every origin"],
)
def test_a_page_of_another_origin_can_neither_use_nor_end_the_session(
    site: str, context: BrowserContext, attacker: int, host: str, asked: int | str
) -> None:
    page = opened(context, f"{site}/api/auth/verify-email")
    assert page.evaluate(REQUEST, ["login", CREDENTIALS])[0] == 200
    before = refresh_cookie(context)
    session = UserSession.objects.get()
    evil = opened(context, f"http://{host}:{attacker}/")

    seen = evil.evaluate(ATTACKS, [site, EMAIL, PASSWORD])
    for path in ("login", "refresh", "logout"):
        form = opened(context, f"http://{host}:{attacker}/")
        with form.expect_response(f"{site}/api/auth/{path}"):
            form.evaluate(FORM, [site, path])

    assert {seen[f"{path} asked"] for path in ("login", "refresh", "logout")} == {asked}
    assert refresh_cookie(context) == before
    after = UserSession.objects.get()
    assert (after.pk, after.generation, after.is_active) == (session.pk, session.generation, True)
    assert page.evaluate(REQUEST, ["refresh", None])[0] == 200
