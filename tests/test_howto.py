"""The how-to pages: their code is run in a reader's project, and does what the page says."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.exceptions import InvalidCredentialsError
from ninja_auth_kit.testing import override_auth_kit
from tests.conftest import Api
from tests.howto import HOWTO, PASSWORD, Project, block, install_from_npm, program, run_in
from tests.servers import ROOT
from tests.test_example import database

__all__ = ["database"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "ada@example.com"
TYPESCRIPT = json.loads((ROOT / "examples" / "typescript" / "package.json").read_text(encoding="utf-8"))
OPENAPI_FETCH = f"openapi-fetch@{TYPESCRIPT['dependencies']['openapi-fetch']}"
DEVELOPMENT = [f"{name}@{version}" for name, version in TYPESCRIPT["devDependencies"].items()]
REACT = ["react@19.3.1", "react-dom@19.3.1", "@types/react@19.3.3", "@types/react-dom@19.3.0"]
JSDOM = "jsdom@29.1.1"  # the newest that runs on Node 20
NEXT = "next@16.4.6"
COMPILER = {
    "strict": True,
    "allowJs": True,  # as the pages say
    "target": "ES2022",
    "module": "commonjs",
    "moduleResolution": "node10",
    "jsx": "react-jsx",
    "esModuleInterop": True,
    "skipLibCheck": True,
    "rootDir": ".",
    "outDir": "dist",
}


@pytest.fixture
def project(tmp_path: Path, database: str) -> Iterator[Project]:
    """Make the project of the quickstart; it is neither migrated nor running."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder, database)
    yield made
    made.stop()


@pytest.fixture
def served(project: Project) -> Callable[..., str]:
    """Return a function that migrates the project and starts it with these settings."""

    def serve(settings: str = "") -> str:
        project.settings(settings)
        project.manage("migrate", "--verbosity", "0")
        return project.serve()

    return serve


def compile_typescript(folder: Path) -> None:
    """Check the types of everything in a folder, and compile it to `dist`."""
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "exclude": ["dist"]}))
    run_in(folder, program("npx"), "tsc")


def wrapper() -> str:
    return (ROOT / "examples" / "fetch" / "authkit.js").read_text(encoding="utf-8")


# A browser as far as React needs one; requests go to the site, and the page is driven by what a user sees.
REACT_PAGE = """
const { JSDOM } = require("jsdom");
const [site, email, password] = process.argv.slice(2);
const { window } = new JSDOM("<!doctype html><div id=root></div>", { url: `${site}/` });
const { document, FormData, HTMLElement, location } = window;
Object.assign(globalThis, { window, document, FormData, HTMLElement, location, IS_REACT_ACT_ENVIRONMENT: true });
globalThis.navigator ??= window.navigator;
const absolute = (input) => (typeof input === "string" ? new URL(input, site).href : input);
const { Request, fetch } = globalThis;
globalThis.Request = class extends Request { constructor(input, init) { super(absolute(input), init); } };
globalThis.fetch = (input, init) => fetch(absolute(input), init);

const { createElement, act } = require("react");
const { createRoot } = require("react-dom/client");
const { App } = require("./dist/src/App.js");
const { api } = require("./dist/src/api.js");
const { AuthSession } = require("./dist/src/authkit.js");

const root = document.getElementById("root");
const text = (role) => root.querySelector(`[role=${role}]`)?.textContent;
const click = (label) =>
  act(async () => [...root.querySelectorAll("button")].find((button) => button.textContent === label).click());
const until = async (test) => {
  for (let tries = 0; tries < 400; tries += 1) {
    if (test()) return;
    await act(() => new Promise((wake) => setTimeout(wake, 25)));
  }
  throw new Error(`the page stayed at ${root.innerHTML}`);
};
const logIn = async (secret) => {
  root.querySelector("[name=email]").value = email;
  root.querySelector("[name=password]").value = secret;
  await click("Log in");
};

(async () => {
  const said = {};
  await act(async () => createRoot(root).render(createElement(App)));
  await logIn("not the password");
  await until(() => text("alert"));
  said.refused = text("alert");
  await logIn(password);
  await until(() => root.querySelector("[role=status]"));
  await click("Say hello");
  await until(() => text("status"));
  said.hello = text("status");
  said.typed = (await api.GET("/api/auth/me")).data.email;
  await new AuthSession("/api/auth").login({ email, password });
  await click("Say hello");
  await until(() => root.querySelector("form"));
  said.ended = text("alert");
  console.log(JSON.stringify(said));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
"""


def test_the_code_for_react_has_sound_types_and_shows_a_login_a_refusal_and_a_login_elsewhere(
    project: Project, served: Callable[..., str], tmp_path: Path
) -> None:
    front = tmp_path / "front"
    install_from_npm(front, *DEVELOPMENT, OPENAPI_FETCH, *REACT, JSDOM)
    site = served()
    project.sign_up(EMAIL, username="ada")
    source = front / "src"
    source.mkdir()
    (source / "authkit.js").write_text(wrapper())
    for name in ("session.ts", "App.tsx", "api.ts"):
        (source / name).write_text(block("react", "tsx" if name.endswith("x") else "ts", f"src/{name}"))
    (front / "openapi.json").write_text(json.dumps(project.call("GET", "/api/auth/openapi.json")[1]))
    run_in(front, program("npx"), "openapi-typescript", "openapi.json", "--output", "src/schema.ts")
    compile_typescript(front)
    (front / "page.cjs").write_text(REACT_PAGE)

    said = json.loads(run_in(front, program("node"), "page.cjs", site, EMAIL, PASSWORD))

    assert said == {
        "refused": str(InvalidCredentialsError.message),
        "hello": EMAIL,
        "typed": EMAIL,
        "ended": "You were logged out, perhaps by a login on another device.",
    }


# The route handler is called as Next.js calls it, with a cookie jar for a browser.
NEXT_BROWSER = """
const { NextRequest } = require("next/server");
const { POST } = require("./dist/app/api/session/[action]/route.js");
const [site, email, password] = process.argv.slice(2);
let jar = "";
const cookies = [];
const call = async (action, body, origin = "same-origin") => {
  const headers = { "Sec-Fetch-Site": origin, "User-Agent": "Firefox", "X-Forwarded-For": "203.0.113.9", Cookie: jar };
  const init = { method: "POST", headers, body: body && JSON.stringify(body) };
  const request = new NextRequest(`http://front.example/api/session/${action}`, init);
  const answer = await POST(request, { params: Promise.resolve({ action }) });
  const cookie = answer.headers.get("set-cookie");
  if (cookie) {
    cookies.push(cookie.replace(/nakr_[^;]+/, "TOKEN").replace(/Expires=[^;]+; /, ""));
    jar = cookie.split(";")[0];
  }
  return { status: answer.status, said: answer.status === 204 ? {} : await answer.json() };
};
const brief = ({ status, said }) => [status, said.code ?? Object.keys(said).sort().join(" ")];

(async () => {
  const steps = {};
  steps.nothing = brief(await call("refresh"));
  steps.wrong = brief(await call("login", { email, password: "not the password" }));
  steps.login = brief(await call("login", { email, password }));
  steps.foreign = brief(await call("refresh", null, "same-site"));
  steps.unknown = brief(await call("me"));
  const before = jar;
  steps.refresh = brief(await call("refresh"));
  steps.rotated = jar !== before;
  const { access_token } = (await call("refresh")).said;
  const sessions = await fetch(`${site}/api/auth/sessions`, { headers: { Authorization: `Bearer ${access_token}` } });
  [steps.session] = (await sessions.json()).map(({ ip_address, user_agent }) => [ip_address, user_agent]);
  steps.logout = brief(await call("logout"));
  steps.after = brief(await call("refresh"));
  jar = before;
  steps.ended = brief(await call("refresh"));
  console.log(JSON.stringify({ steps, cookies }));
})();
"""


def test_the_route_handler_for_next_has_sound_types_and_keeps_the_refresh_token_in_a_cookie(
    project: Project, served: Callable[..., str], tmp_path: Path
) -> None:
    front = tmp_path / "front"
    install_from_npm(front, *DEVELOPMENT, *REACT, NEXT)
    site = served(block("nextjs", "python", "settings.py"))
    project.sign_up(EMAIL, username="ada")
    for name in ("app/api/session/[action]/route.ts", "lib/session.ts"):
        (front / name).parent.mkdir(parents=True)
        (front / name).write_text(block("nextjs", "ts", name))
    (front / "lib" / "authkit.js").write_text(wrapper())
    compile_typescript(front)
    (front / "browser.cjs").write_text(NEXT_BROWSER)

    said = json.loads(
        run_in(
            front,
            *(program("node"), "browser.cjs", site, EMAIL, PASSWORD),
            AUTHKIT_URL=f"{site}/api/auth",
            NODE_ENV="production",
        )
    )

    pair = "access_token expires_in refresh_expires_in session_id token_type"  # and no refresh token
    assert said["steps"] == {
        "nothing": [401, "invalid_token"],
        "wrong": [401, "invalid_credentials"],
        "login": [200, pair],
        "foreign": [403, "cross_site"],
        "unknown": [404, "not_found"],
        "refresh": [200, pair],
        "rotated": True,
        "session": ["203.0.113.9", "Firefox"],
        "logout": [204, ""],
        "after": [401, "invalid_token"],
        "ended": [401, "session_ended"],
    }
    kept = "refresh_token=TOKEN; Path=/api/session; Max-Age=604800; Secure; HttpOnly; SameSite=strict"
    dropped = "refresh_token=; Path=/api/session; Max-Age=0; Secure; HttpOnly; SameSite=strict"
    assert said["cookies"] == [kept] * 3 + [dropped] * 2


def test_the_page_for_next_puts_the_access_token_of_the_cookie_into_memory(tmp_path: Path) -> None:
    front = tmp_path / "front"
    install_from_npm(front, *DEVELOPMENT)
    (front / "authkit.js").write_text(wrapper())
    (front / "session.ts").write_text(block("nextjs", "ts", "lib/session.ts"))
    compile_typescript(front)
    (front / "page.cjs").write_text("""
    const answers = [new Response("{}", { status: 401 }), Response.json({ access_token: "from the cookie" })];
    const asked = [];
    globalThis.fetch = async (url, { method }) => { asked.push([method, url]); return answers.shift(); };
    const { restore, session } = require("./dist/session.js");
    (async () => {
      const before = await restore();
      const after = await restore();
      globalThis.fetch = async (request) => new Response(request.headers.get("Authorization"));
      const sent = await (await session.fetch("https://api.example.com/hello")).text();
      console.log(JSON.stringify({ before, after, asked, sent }));
    })();
    """)

    said = json.loads(run_in(front, program("node"), "page.cjs"))

    assert said == {
        "before": False,
        "after": True,
        "asked": [["POST", "/api/session/refresh"]] * 2,
        "sent": "Bearer from the cookie",
    }


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


def refresh(api: Api, pair: dict[str, Any]) -> Any:
    return api.post("refresh", {"refresh_token": pair["refresh_token"]})


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_an_app_that_lost_an_answer_gets_it_again_for_as_long_as_the_page_says(
    api: Api, user: Any, clock: time_machine.Traveller
) -> None:
    chosen: dict[str, Any] = {}
    exec(block("mobile", "python", "settings.py"), chosen)
    with override_auth_kit(**chosen["NINJA_AUTH_KIT"]):
        pair = api.pair()
        lost = refresh(api, pair).json()
        clock.shift(timedelta(seconds=60))
        again = refresh(api, pair)
        assert again.json()["refresh_token"] == lost["refresh_token"]
    clock.shift(timedelta(seconds=1))

    assert code(refresh(api, pair)) == (401, "token_reused")
    assert code(refresh(api, lost)) == (401, "session_ended")


def test_an_app_that_slept_for_a_month_logs_in_again_whatever_the_code(
    api: Api, user: Any, clock: time_machine.Traveller
) -> None:
    pair = api.pair()
    clock.shift(timedelta(days=31))
    assert code(api.get("me", token=pair["access_token"])) == (401, "token_expired")
    assert code(refresh(api, pair)) == (401, "token_expired")

    api.pair()
    assert code(refresh(api, pair)) == (401, "session_ended")

    clock.shift(timedelta(days=61))
    call_command("authkit_prune", verbosity=0)
    assert code(refresh(api, pair)) == (401, "invalid_token")


def test_a_second_device_ends_the_session_of_the_first_or_is_refused(api: Api, user: Any) -> None:
    first = api.pair()
    second = api.pair()
    assert code(api.get("me", token=first["access_token"])) == (401, "session_ended")
    assert code(refresh(api, first)) == (401, "session_ended")
    assert api.is_in(second["access_token"])

    with override_auth_kit(SESSION_LIMIT_POLICY="reject"):
        assert code(api.login()) == (409, "session_limit_reached")
        api.post("logout", {"refresh_token": second["refresh_token"]})
        assert api.login().status_code == 200


def test_every_code_on_the_pages_is_one_of_the_kit() -> None:
    known = {error.code for error in STATUSES}
    for page in HOWTO.glob("*.md"):
        named = re.findall(r"\b[45]\d\d `([a-z_]+)`", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page.name


def preflight(path: str, method: str, headers: str, origin: str = "https://app.example.com") -> Any:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return Client().options(path, headers={"Origin": origin, **asked})


@pytest.fixture
def cors() -> Iterator[None]:
    """Use the settings of the page."""
    chosen = {"INSTALLED_APPS": list(settings.INSTALLED_APPS), "MIDDLEWARE": [COMMON]}
    exec(block("cors", "python", "settings.py"), chosen)
    with override_settings(**{name: value for name, value in chosen.items() if name.isupper()}):
        yield


COMMON = "django.middleware.common.CommonMiddleware"


def test_the_settings_for_cors_let_the_front_end_log_in_and_read_how_long_to_wait(
    cors: None, api: Api, user: Any
) -> None:
    assert [message for message in run_checks() if message.id and message.id.startswith("corsheaders")] == []
    for path, method in (("login", "POST"), ("me", "GET"), ("me", "PATCH"), ("me", "DELETE"), ("logout", "POST")):
        asked = preflight(f"/api/auth/{path}", method, "authorization,content-type")
        assert asked.status_code == 200
        assert asked["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert method in asked["Access-Control-Allow-Methods"]
        assert {"authorization", "content-type"} <= set(asked["Access-Control-Allow-Headers"].split(", "))
        assert "Access-Control-Allow-Credentials" not in asked

    with override_auth_kit(THROTTLES={"login_account": "1/h"}):
        api.login(password="wrong", HTTP_ORIGIN="https://app.example.com")
        refused = api.login(password="wrong", HTTP_ORIGIN="https://app.example.com")

    assert code(refused) == (429, "throttled")
    assert refused["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert refused["Access-Control-Expose-Headers"] == "Retry-After, WWW-Authenticate"
    assert int(refused["Retry-After"]) > 0


def test_the_settings_for_cors_let_in_no_other_origin_and_no_other_path(cors: None) -> None:
    stranger = preflight("/api/auth/login", "POST", "content-type", origin="https://app.example.com.evil.example")
    elsewhere = preflight("/host/sync", "GET", "authorization")

    assert "Access-Control-Allow-Origin" not in stranger
    assert "Access-Control-Allow-Origin" not in elsewhere


def test_a_preflight_is_counted_by_no_limit_and_asks_no_database(
    cors: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert preflight("/api/auth/login", "POST", "content-type").status_code == 200


def test_without_the_middleware_the_kit_refuses_a_preflight(api: Api) -> None:
    assert code(preflight("/api/auth/login", "POST", "content-type")) == (405, "method_not_allowed")
