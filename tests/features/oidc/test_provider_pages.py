"""The pages about providers: the requests, the JavaScript and the test on them work as they are written."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from tests.conftest import Api
from tests.features.oidc.conftest import APP_URI, link
from tests.features.oidc.providers.hostile import Provider
from tests.features.test_pages_of_features import Page
from tests.howto import block, program, run_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]


@pytest.fixture
def google(on_loopback: Callable[..., None], kit: Callable[..., None]) -> Iterator[Provider]:
    with Provider(promises_iss=False) as provider:
        config = provider.config(name="Google")
        on_loopback(google=config)
        kit(OIDC={"PROVIDERS": {"google": config}, "REDIRECT_URIS": ["https://example.com/login/{provider}"]})
        yield provider


@pytest.fixture
def linked(google: Provider, user: Any) -> Any:
    """Return a user with an identity."""
    link(user, subject="1001", issuer=google.issuer, provider="google")
    return user


def test_the_requests_of_the_page_work_and_answer_as_shown(api: Api, google: Provider, linked: Any) -> None:
    page = Page("providers.md", api)

    started = page.send("start").json()
    assert list(started) == list(page.shown("start"))
    returned = google.authorize(started["authorization_url"])
    done = page.send("finish", flow_token=started["flow_token"], **returned)
    assert (done.status_code, list(done.json())) == (200, list(page.shown("finish")))

    native = page.send("native").json()
    assert {**native, "flow_token": "", "nonce": ""} == {**page.shown("native"), "flow_token": "", "nonce": ""}
    token = google.id_token(nonce=native["nonce"])
    done = page.send("id-token", flow_token=native["flow_token"], id_token=token)
    assert done.status_code == 200, done.content

    started = page.send("link", token=done.json()["access_token"]).json()
    returned = google.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned}
    answer = api.post("oidc/google/finish", body, token=done.json()["access_token"])
    assert (answer.status_code, list(answer.json())) == (201, list(page.shown("link")))


@pytest.fixture
def site(settings: Settings, request: pytest.FixtureRequest) -> str:
    """Return the address of the project, which a thread of this process serves with the settings of the test."""
    settings.STATIC_URL = "/static/"  # which the server of Django requires
    return str(request.getfixturevalue("live_server").url)


# In place of the browser: what provider-login.js uses of it.
BROWSER = """
const base = process.argv[2];
const direct = fetch;
globalThis.fetch = (path, init) => direct(base + path, init);
globalThis.location = { origin: "https://example.com", pathname: "/login/google", search: "", hash: "" };
location.assign = (url) => { location.assigned = url; };
globalThis.history = { replaceState: () => { location.search = location.hash = ""; } };
const stored = new Map();
globalThis.sessionStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
  removeItem: (key) => stored.delete(key),
};
async function atProvider(account) {
  const answer = await direct(`${location.assigned}&account=${account}`, { redirect: "manual" });
  location.search = new URL(answer.headers.get("location")).search;
}
"""


def run_in_node(folder: Path, script: str, base: str) -> Any:
    """Run a script with the modules of the pages, and return what it prints as JSON."""
    text = Page("providers.md", Api()).text
    (code,) = re.findall(r"```js\n(// provider-login.js\n.*?)```", text, re.DOTALL)
    (folder / "provider-login.js").write_text(code)
    (folder / "login-done.js").write_text(block("sign-in-with-google", "js", "login-done.js"))
    (folder / "settings-page.js").write_text(block("sign-in-with-google", "js", "settings-page.js"))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "browser.js").write_text(f"{BROWSER}\n{script}")
    return json.loads(run_in(folder, program("node"), "browser.js", base))


def test_the_javascript_of_the_page_logs_in(site: str, google: Provider, linked: Any, tmp_path: Path) -> None:
    script = """
    const { begin, finish } = await import("./provider-login.js");
    await begin("google");
    await atProvider("ada");
    const done = await finish();
    const again = [await finish(), location.search, stored.size];
    await begin("google", "link", done.access_token);
    await atProvider("ada");
    const linked = await finish(done.access_token);
    await begin("google");
    await atProvider("ada");
    location.pathname = "/login/another";
    const ofAnother = await finish();
    const { status, acr } = done;
    console.log(JSON.stringify({ status, acr, again, linked: [linked.status, linked.provider], ofAnother }));
    """

    said = run_in_node(tmp_path, script, site)

    assert said == {"status": 200, "acr": "aal1", "again": [None, "", 0], "linked": [201, "google"], "ofAnother": None}


def test_the_javascript_of_the_guide_says_what_the_user_does_next(
    site: str, google: Provider, user: Any, tmp_path: Path
) -> None:
    google.change_email("eve", "eve@gmail.com")
    script = """
    const { begin } = await import("./provider-login.js");
    const { loginDone } = await import("./login-done.js");
    const shown = {};
    for (const account of ["ada", "bob", "eve"]) {
      await begin("google");
      await atProvider(account);
      await loginDone((page, what) => { shown[account] = [page, what.status ?? what]; });
    }
    await loginDone((page) => { shown.nothing = page; });
    console.log(JSON.stringify(shown));
    """

    said = run_in_node(tmp_path, script, site)

    assert said == {
        "ada": [
            "login",
            "You have an account with this address. Log in with your password, and link Google in your settings.",
        ],
        "bob": ["login", "Google has not confirmed your address. Register with a password."],
        "eve": ["username", "username_required"],
        "nothing": "login",
    }


def test_the_javascript_of_the_guide_links(site: str, google: Provider, linked: Any, tmp_path: Path) -> None:
    script = """
    const { begin, finish } = await import("./provider-login.js");
    const { loginDone } = await import("./login-done.js");
    const { linkGoogle } = await import("./settings-page.js");
    const post = async (path, body) => (await fetch(`/api/auth/${path}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    })).json();
    await begin("google");
    await atProvider("ada");
    let tokens = await finish();
    const shown = [];
    const show = (...what) => { shown.push(what); };
    const refresh = async () => {
      tokens = await post("refresh", { refresh_token: tokens.refresh_token });
      return tokens.access_token;
    };
    for (const account of ["ada", "bob"]) {
      await linkGoogle(tokens.access_token);
      await atProvider(account);
      await loginDone(show, refresh);
    }
    await linkGoogle(tokens.access_token);
    location.search = "?error=access_denied&state=x";
    await loginDone(show, refresh);
    await linkGoogle(tokens.access_token);
    await atProvider("ada");
    await loginDone(show, async () => undefined);
    console.log(JSON.stringify(shown));
    """

    said = run_in_node(tmp_path, script, site)

    assert said == [
        ["settings", "Google is linked."],
        ["settings", "This Google account is linked to another account, or your account has another one of Google."],
        ["settings"],
        ["settings", "That did not work. Try again."],  # without the access token
    ]


def test_the_javascript_of_the_page_returns_null_for_a_cancelled_flow_alone(
    site: str, google: Provider, tmp_path: Path
) -> None:
    script = """
    const { begin, finish, purposeOfFlow } = await import("./provider-login.js");
    const said = [purposeOfFlow() ?? null];
    for (const error of ["access_denied", "user_cancelled_authorize", "invalid_scope"]) {
      await begin("google");
      location.search = `?error=${error}&state=x`;
      said.push(purposeOfFlow(), await finish().catch((fault) => fault.code));
    }
    console.log(JSON.stringify(said));
    """

    said = run_in_node(tmp_path, script, site)

    assert said == [None, "login", None, "login", None, "login", "invalid_scope"]


def test_the_test_of_the_guide_passes(client: Client, kit: Callable[..., None]) -> None:
    google = {"client_ids": ["1234-web.apps.googleusercontent.com"], "client_secret": "a secret"}
    kit(OIDC={"PROVIDERS": {"google": google}, "REDIRECT_URIS": ["https://example.com/login/{provider}", APP_URI]})
    names: dict[str, Any] = {}

    exec(block("sign-in-with-google", "python", "test_google.py"), names)  # noqa: S102  # the page is ours
    names["test_google_registers"](client)
