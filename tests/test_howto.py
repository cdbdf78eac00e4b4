"""The how-to pages: their code runs in a reader's project and does what the page says."""

import errno
import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import time_machine
import yaml
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import call_command, load_command_class
from django.test import Client, override_settings
from django.utils import timezone
from ninja import NinjaAPI
from ninja.testing import TestAsyncClient
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit import JWTAuth, __version__, checks
from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.exceptions import InvalidCredentialsError
from ninja_auth_kit.testing import auth_headers, override_auth_kit
from tests.conftest import Api
from tests.consumer.conftest import until
from tests.howto import HOWTO, PASSWORD, Project, block, blocks, executed, install_from_npm, program, run_in
from tests.private_broker import free_port
from tests.servers import ROOT
from tests.test_example import database

__all__ = ["database"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

EMAIL = "ada@example.com"
TYPESCRIPT = json.loads((ROOT / "examples" / "typescript" / "package.json").read_text(encoding="utf-8"))
OPENAPI_FETCH = f"openapi-fetch@{TYPESCRIPT['dependencies']['openapi-fetch']}"
DEVELOPMENT = [f"{name}@{version}" for name, version in TYPESCRIPT["devDependencies"].items()]
REACT = ["react@19.3.1", "react-dom@19.3.1", "@types/react@19.3.3", "@types/react-dom@19.3.0"]
JSDOM = "jsdom@29.1.1"  # the newest version that supports Node.js 20
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
    """Create the project of the quickstart, without migrating or starting it."""
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
    """Check the types in a folder, and compile it to `dist`."""
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "exclude": ["dist"]}))
    run_in(folder, program("npx"), "tsc")


def wrapper() -> str:
    return (ROOT / "examples" / "fetch" / "authkit.js").read_text(encoding="utf-8")


# A minimal browser for React. Requests go to the site, and the test interacts with visible
# elements.
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


@pytest.mark.one_django
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


# The route handler is called as Next.js calls it, with a cookie jar in place of a browser.
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


@pytest.mark.one_django
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

    # Without a refresh token.
    pair = "access_token expires_in refresh_expires_in session_id token_type"
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


@pytest.mark.one_django
def test_the_page_for_next_puts_the_access_token_of_the_cookie_into_memory(tmp_path: Path) -> None:
    front = tmp_path / "front"
    install_from_npm(front, f"typescript@{TYPESCRIPT['devDependencies']['typescript']}")
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
    with override_auth_kit(**executed(block("mobile", "python", "settings.py"))["NINJA_AUTH_KIT"]):
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


def preflight(path: str, method: str, headers: str, origin: str = "https://app.example.com") -> Any:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return Client().options(path, headers={"Origin": origin, **asked})


@pytest.fixture
def cors() -> Iterator[None]:
    """Use the settings of the page."""
    page, apps = block("cors", "python", "settings.py\n"), list(settings.INSTALLED_APPS)
    with override_settings(**executed(page, INSTALLED_APPS=apps, MIDDLEWARE=[COMMON])):
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


USERS_PAGE = "custom-user-models"
NAMED, SCHEMAS = "email and a username", "accounts/schemas.py\n"


def with_users(project: Project, kind: str, *, settings: str = "settings.py\n", **modules: str) -> None:
    """Add a user model of the page to the project, and migrate."""
    project.app("accounts", models=block(USERS_PAGE, "python", f"accounts/models.py: {kind}\n"), **modules)
    project.settings(block(USERS_PAGE, "python", settings))
    project.manage("makemigrations", "accounts", "--verbosity", "0")
    project.manage("migrate", "--verbosity", "0")


def test_users_with_an_email_address_alone_register_and_log_in(project: Project) -> None:
    with_users(project, "email only")
    assert "no issues" in project.manage("check")
    create = "from accounts.models import User; User.objects.create_superuser('root@example.com')"
    project.manage("shell", "-c", create)
    project.serve()

    project.sign_up(EMAIL)

    me = project.call("GET", "/api/auth/me", token=project.login(EMAIL)["access_token"])[1]
    assert (me["email"], me["username"]) == (EMAIL, None)
    status, said = project.post("register", email="new@example.com", password=PASSWORD, username="new")
    assert (status, said["errors"][0]["code"]) == (422, "unknown_field")


def test_users_register_a_username_beside_the_address_that_they_log_in_with(project: Project) -> None:
    with_users(project, NAMED, settings=f"settings.py: {NAMED}\n", schemas=block(USERS_PAGE, "python", SCHEMAS))
    assert "no issues" in project.manage("check")
    project.serve()
    for name in ("ada", "bob"):
        project.sign_up(f"{name}@example.com", username=name)
    status, said = project.post("register", email="eve@example.com", password=PASSWORD, username="ada")
    assert (status, said["errors"][0]["field"], said["errors"][0]["code"]) == (422, "username", "username_taken")

    token = project.login(EMAIL)["access_token"]

    assert project.call("GET", "/api/auth/me", token=token)[1]["username"] == "ada"
    assert project.call("PATCH", "/api/auth/me", {"username": "countess"}, token=token)[1]["username"] == "countess"
    status, said = project.call("PATCH", "/api/auth/me", {"username": "bob"}, token=token)
    assert (status, said["errors"][0]["field"], said["errors"][0]["code"]) == (422, "username", "username_taken")


def test_users_get_the_username_that_the_project_generates(project: Project) -> None:
    hook = block(USERS_PAGE, "python", "accounts/registration.py\n")
    with_users(project, NAMED, settings="settings.py: generated usernames\n", registration=hook)
    assert "no issues" in project.manage("check")
    project.serve()
    names = []
    for address in (EMAIL, "bob@example.com"):
        project.sign_up(address)
        names.append(project.call("GET", "/api/auth/me", token=project.login(address)["access_token"])[1]["username"])

    assert len(set(names)) == 2
    assert all(name.startswith("user-") for name in names)


RECEIVERS = {
    "profiles": "User.objects.filter(profile__isnull=False)",
    "a column for verified addresses": "User.objects.filter(email_verified=True)",
}


@pytest.mark.parametrize("kind", RECEIVERS)
def test_receivers_of_the_project_keep_its_own_rows_and_columns(project: Project, kind: str) -> None:
    parts = {
        "receivers": block(USERS_PAGE, "python", f"accounts/receivers.py: {kind}\n"),
        "apps": block(USERS_PAGE, "python", "accounts/apps.py: receivers\n"),
    }
    with_users(project, kind, **parts)
    project.serve()
    assert project.post("register", email="early@example.com", password=PASSWORD, username="early")[0] == 202
    project.sign_up(EMAIL, username="ada")

    ask = f"from accounts.models import User; print(sorted({RECEIVERS[kind]}.values_list('username', flat=True)))"
    found = project.manage("shell", "-c", ask)

    assert ("['ada', 'early']" if kind == "profiles" else "['ada']") in found


def test_users_whose_key_is_a_uuid_have_it_in_their_tokens_and_register_with_a_name(project: Project) -> None:
    with_users(project, "UUID")
    project.serve()
    project.sign_up(EMAIL, username="ada")

    token = project.login(EMAIL)["access_token"]
    me = project.call("GET", "/api/auth/me", token=token)[1]

    assert str(uuid.UUID(me["id"])) == me["id"] == jwt.decode(token, options={"verify_signature": False})["sub"]
    assert project.post("login", username="ada", password=PASSWORD)[0] == 200
    status, said = project.post("register", email="bob@example.com", password=PASSWORD, username="ada")
    assert (status, said["errors"][0]["code"]) == (422, "username_taken")


def test_the_checks_name_what_the_page_says_a_user_model_must_not_have(project: Project) -> None:
    with_users(project, NAMED, settings=f"settings.py: {NAMED}\n", schemas=block(USERS_PAGE, "python", SCHEMAS))
    project.settings('NINJA_AUTH_KIT["REGISTRATION_SCHEMA"] = None')
    assert "ninja_auth_kit.E013) Registration cannot fill User.username" in project.manage("check", succeeds=False)
    models = project.folder / "accounts" / "models.py"
    good = models.read_text(encoding="utf-8")

    def with_username(options: str) -> None:
        models.write_text(good.replace("    USERNAME", f"    username = models.CharField({options})\n\n    USERNAME"))

    with_username('unique=True, max_length=99, default="none"')
    assert "ninja_auth_kit.E013" in project.manage("check", succeeds=False)
    with_username("unique=True, max_length=99, default=__import__('uuid').uuid4")
    assert "ninja_auth_kit.W005) Registration does not fill User.username" in project.manage("check")
    project.settings('NINJA_AUTH_KIT["REGISTRATION_SCHEMA"] = "accounts.schemas.Registration"')
    assert "no issues" in project.manage("check")


SSO_PROVIDER = """
def verified_claims(code):
    verified = not code.startswith("unverified")
    return {"iss": "https://id.example.com", "sub": code, "email": f"{code}@example.com", "email_verified": verified}
"""


SSO_REFUSES = "raise InvalidCredentialsError\n    return"
SSO_CREATES = "return services.start_session(create_user(claims), request=request)\n    return"


def with_sso(project: Project, *, creates_users: bool = False) -> None:
    """Add the code of the page to the project, migrate and start it."""
    modules = {name: block("single-sign-on", "python", f"sso/{name}.py") for name in ("models", "api", "users")}
    assert SSO_REFUSES in modules["api"]
    if creates_users:  # as the page says
        modules["api"] = modules["api"].replace(SSO_REFUSES, SSO_CREATES)
        modules["api"] = f"from sso.users import create_user\n{modules['api']}"
    project.app("sso", provider=SSO_PROVIDER, **modules)
    project.settings('INSTALLED_APPS += ["sso"]')
    urls = (project.folder / "mysite" / "urls.py").read_text(encoding="utf-8")
    project.write(
        "mysite/urls.py", urls.replace("api = NinjaAPI()", block("single-sign-on", "python", "mysite/urls.py"))
    )
    project.manage("makemigrations", "sso", "--verbosity", "0")
    project.manage("migrate", "--verbosity", "0")
    project.serve()


def test_a_view_that_finishes_a_single_sign_on_starts_a_session_as_a_login_does(project: Project) -> None:
    with_sso(project)
    project.sign_up(EMAIL, username="ada")

    def sso(path: str, subject: str, **token: str) -> tuple[int, Any]:
        return project.call("POST", f"/api/sso/{path}", {"code": subject}, **token)

    first = project.login(EMAIL)["access_token"]
    status, said = sso("login", "countess")
    assert (status, said["code"]) == (401, "invalid_credentials")
    assert sso("link", "countess", token=first)[0] == 204

    status, pair = sso("login", "countess")

    assert status == 200
    assert project.call("GET", "/api/hello", token=pair["access_token"]) == (200, {"hello": EMAIL})
    assert project.call("GET", "/api/hello", token=first)[1]["code"] == "session_ended"
    assert project.post("refresh", refresh_token=pair["refresh_token"])[0] == 200
    project.sign_up("bob@example.com", username="bob")
    assert sso("link", "countess", token=project.login("bob@example.com")["access_token"])[0] == 409
    project.manage("shell", "-c", "from django.contrib.auth.models import User; User.objects.update(is_active=False)")
    status, said = sso("login", "countess")
    assert (status, said["code"]) == (401, "invalid_credentials")


def test_users_of_an_identity_provider_are_created_with_a_verified_address_and_take_over_no_account(
    project: Project,
) -> None:
    with_sso(project, creates_users=True)
    project.sign_up(EMAIL, username="ada")
    assert project.post("register", email="early@example.com", password=PASSWORD, username="early")[0] == 202

    answers = {
        subject: project.call("POST", "/api/sso/login", {"code": subject})
        for subject in ("grace", "grace", "ada", "early", "unverified-bob")
    }

    assert {subject: status for subject, (status, _) in answers.items()} == {
        "grace": 200,
        "ada": 401,
        "early": 401,
        "unverified-bob": 401,
    }
    me = project.call("GET", "/api/auth/me", token=answers["grace"][1]["access_token"])[1]
    assert (me["email"], me["email_verified"]) == ("grace@example.com", True)


COMPOSE = yaml.safe_load(block("docker", "yaml", "compose.yaml"))["services"]
MANIFESTS = {
    (manifest["kind"], manifest["metadata"]["name"]): manifest
    for file in blocks("kubernetes", "yaml")
    for manifest in yaml.safe_load_all(file)
}


def container(kind: str, name: str) -> dict[str, Any]:
    spec = MANIFESTS[kind, name]["spec"]
    pod = spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]
    (found,) = pod["containers"]
    return dict(found)


RELAY = container("Deployment", "mysite-relay")


@pytest.fixture
def deployed(project: Project) -> Project:
    """Configure the project as the Docker page describes."""
    project.settings(block("docker", "python", "mysite/settings.py"))
    project.settings("SECURE_SSL_REDIRECT = True")
    with (project.folder / "mysite" / "urls.py").open("a") as file:
        file.write(f"\n{block('docker', 'python', 'mysite/urls.py')}")
    chosen = dict(line.split("=", 1) for line in block("docker", "sh", ".env").splitlines()[1:])
    missing = {name: secrets.token_urlsafe(64) for name, value in chosen.items() if value == "..."}
    here = {**project.environment, "RABBITMQ_HOST": "127.0.0.1"}
    project.environment = {**here, **chosen, **missing, **{name: here[name] for name in chosen if name in here}}
    return project


def test_the_compose_file_is_one_by_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(block("docker", "yaml", "compose.yaml"))

    run_in(tmp_path, sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))


def test_the_manifests_fit_together() -> None:
    assert [kind for kind, _ in MANIFESTS] == ["Job", "Deployment", "Service", "Deployment", "CronJob"]
    for kind, name in MANIFESTS:
        if kind != "Service":
            assert container(kind, name)["envFrom"] == [{"secretRef": {"name": "mysite"}}]
    for name in ("mysite-web", "mysite-relay"):
        spec = MANIFESTS["Deployment", name]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    service, web = MANIFESTS["Service", "mysite-web"]["spec"], MANIFESTS["Deployment", "mysite-web"]["spec"]
    assert service["selector"] == web["selector"]["matchLabels"]
    assert container("Job", "mysite-migrate-1")["command"] == COMPOSE["migrate"]["command"]
    command, subcommand, *_ = container("CronJob", "mysite-prune")["command"][1:]
    assert load_command_class("ninja_auth_kit", subcommand).create_parser(command, subcommand).parse_args([])


def test_the_web_service_answers_its_health_check_and_the_probe(deployed: Project) -> None:
    migrate = COMPOSE["migrate"]["command"]
    deployed.python(*migrate[1:], "--verbosity", "0")
    (command,) = re.findall(r"^CMD (.*)$", block("docker", "dockerfile", "Dockerfile"), re.MULTILINE)
    assert container("Deployment", "mysite-web").get("command") is None  # the command of the image
    deployed.serve(*(part.replace("0.0.0.0:8000", f"127.0.0.1:{deployed.port}") for part in json.loads(command)))

    _, _, *check = COMPOSE["web"]["healthcheck"]["test"]
    deployed.python(*(part.replace(":8000", f":{deployed.port}") for part in check))
    probe = container("Deployment", "mysite-web")["readinessProbe"]["httpGet"]
    sent = {header["name"]: header["value"] for header in probe["httpHeaders"]}
    assert deployed.call("GET", probe["path"], **sent)[0] == 200
    assert deployed.call("GET", probe["path"], Host="10.0.0.7")[0] == 400


@pytest.mark.parametrize("how", ["compose", "kubernetes"])
def test_the_relay_is_healthy_while_it_waits_for_the_broker_and_not_when_it_hangs(
    deployed: Project, tmp_path: Path, how: str
) -> None:
    deployed.manage("migrate", "--verbosity", "0")
    health, metrics = tmp_path / "relay", free_port()
    _, *command = COMPOSE["relay"]["command"] if how == "compose" else RELAY["command"]
    *_, check = (
        COMPOSE["relay"]["healthcheck"]["test"] if how == "compose" else RELAY["livenessProbe"]["exec"]["command"]
    )
    check = check.replace("$$", "$").replace("/tmp/relay", str(health))

    def is_healthy() -> bool:
        return subprocess.run(["sh", "-c", check], capture_output=True, check=False).returncode == 0

    assert not is_healthy()
    replaced = {"/tmp/relay": str(health), "9100": str(metrics), "0.0.0.0": "127.0.0.1"}  # noqa: S104
    for here, there in replaced.items():
        command = [part.replace(here, there) for part in command]
    relay = deployed.start(sys.executable, *command)
    until(is_healthy)

    if how == "kubernetes":
        figures = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20).read().decode()
        assert 'ninja_auth_kit_audit_oldest_seconds{database="default"} 0' in figures
    deployed.stop()
    assert relay.returncode == 0
    health.touch()
    os.utime(health, (time.time() - 121,) * 2)
    assert not is_healthy()


def test_check_deploy_warns_of_what_the_page_says_and_of_no_more(deployed: Project) -> None:
    deployed.environment["RABBITMQ_HOST"] = "rabbitmq"

    # Django 6.1 reports the same as W019, as an error.
    said = deployed.manage("check", "--deploy", "--fail-level", "CRITICAL")

    emails = {"W019"}  # the emails of this test are written to files
    assert set(re.findall(r"ninja_auth_kit\.([EW]\d+)", said)) - emails == {"W012"}


EVERY_PAGE = "\n".join(page.read_text(encoding="utf-8") for page in HOWTO.glob("*.md"))
SOURCE = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
IN_PIECES = re.compile(r'"\s*\n\s*f?"')  # a text that continues on the next line
# These appear on the page, but are not texts of the kit.
OTHERS = {"ConnectionRefusedError", "connection refused", "=3D", "="}


@pytest.mark.one_user_model
def test_the_users_and_the_kit_are_in_the_second_database_and_the_rest_in_the_first(project: Project) -> None:
    page = "second-database"
    project.write("mysite/routers.py", block(page, "python", "mysite/routers.py"))
    project.settings(block(page, "python", "settings.py"))
    commands = re.findall(r"\$ python manage.py (.*)", "".join(blocks(page, "console")))
    assert len(commands) == 3

    for command in commands:
        project.manage(*command.split())

    project.serve()
    project.sign_up(EMAIL, username="ada")
    token = project.login(EMAIL)["access_token"]
    assert project.call("GET", "/api/auth/me", token=token)[0] == 200
    with closing(sqlite3.connect(project.folder / "db.sqlite3")) as default:
        tables = {name for (name,) in default.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "django_session" in tables
    assert not any(name.startswith(("ninja_auth_kit", "auth_")) for name in tables)


def test_every_code_on_the_pages_has_the_status_that_is_given_with_it() -> None:
    known = {(str(status.value), error.code) for error, status in STATUSES.items()}
    # Those of the optional apps, which are not installed here, are on the page that is generated with all of them.
    errors = (HOWTO.parent / "errors.md").read_text("utf-8")
    known |= set(re.findall(r"^\| ([45]\d\d) \| `([a-z_]+)` \|", errors, re.MULTILINE))

    named = {
        pair
        for page in HOWTO.glob("*.md")
        for pair in re.findall(r"\b([45]\d\d) `([a-z_]+)`", page.read_text("utf-8"))
    }

    assert len(named) > 15
    assert named <= known


def test_every_check_on_the_pages_is_one_of_the_kit() -> None:
    known = set(re.findall(r"^ +([EW]\d{3}) ", str(checks.__doc__), re.MULTILINE))

    named = set(re.findall(r"\b[EW]\d{3}\b", EVERY_PAGE))

    assert len(named) > 10
    assert named <= known


def test_what_the_page_for_troubles_quotes_is_said_by_the_kit() -> None:
    said = IN_PIECES.sub("", SOURCE)
    page = (HOWTO / "troubleshooting.md").read_text(encoding="utf-8")
    seen = {
        text for cell in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for text in re.findall("`([^`]+)`", cell)
    }
    words = {text for text in seen if not re.fullmatch(r"ninja_auth_kit\.[EW]\d+|/[a-z/-]+", text)}

    assert [text for text in sorted(words - OTHERS) if text not in said] == []
    assert os.strerror(errno.ECONNREFUSED).lower() == "connection refused"


def test_a_path_with_a_slash_at_its_end_is_answered_by_the_kit(api: Api, user: Any) -> None:
    assert code(api.post("login/", {"email": "ada@example.com", "password": "x"})) == (404, "not_found")


def test_a_project_without_the_tables_answers_with_the_code_that_the_page_says(project: Project) -> None:
    project.settings('MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]')
    project.serve()

    status, said = project.post("login", email=EMAIL, password=PASSWORD)

    assert (status, said["code"]) == (500, "server_error")
    assert "does not exist" in project.stop()
    assert "Run `manage.py migrate`" in project.manage("authkit_status", succeeds=False)


def test_an_async_route_that_trusts_the_token_alone_gets_its_user_by_auser(user: Any) -> None:
    own = NinjaAPI(urls_namespace="howto-async")

    @own.get("/wrong", auth=JWTAuth(check_session=False))
    async def wrong(request: Any) -> str:
        return str(request.user.email)

    @own.get("/right", auth=JWTAuth(check_session=False))
    async def right(request: Any) -> str:
        return str((await request.auser()).email)

    headers = auth_headers(user)

    async def ask(path: str) -> Any:
        return (await TestAsyncClient(own).get(path, headers=headers)).json()

    assert async_to_sync(ask)("/right") == EMAIL
    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(ask)("/wrong")


def test_the_kit_sets_no_cookie_and_its_sessions_are_apart_from_those_of_django(
    api: Api, user: Any, settings: Settings
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sessions"]
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    api.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    answer = api.login()
    token = answer.json()["access_token"]

    assert not answer.cookies
    assert api.client.session["_auth_user_id"] == str(user.pk)
    api.client.logout()
    assert api.is_in(token)
    api.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert api.post("logout", token=token).status_code == 204
    assert api.client.session["_auth_user_id"] == str(user.pk)


@pytest.mark.parametrize("how", ["logout/all", "authkit_revoke", "set_password", "is_active"])
def test_every_way_to_log_a_user_out_everywhere_counts_on_the_next_request(api: Api, user: Any, how: str) -> None:
    with override_auth_kit(SESSION_LIMIT=None):
        tokens = [api.pair()["access_token"] for _ in range(2)]
    match how:
        case "logout/all":
            assert api.post(how, token=tokens[0]).status_code == 204
        case "authkit_revoke":
            call_command(how, EMAIL, verbosity=0)
        case "set_password":
            user.set_password("another walk in the hills")
            user.save()
        case "is_active":
            user.is_active = False
            user.save()

    assert [code(api.get("me", token=token)) for token in tokens] == [(401, "session_ended")] * 2


def test_the_checklist_has_eleven_ticks_and_each_of_them_a_link() -> None:
    ticks = (HOWTO / "production-checklist.md").read_text(encoding="utf-8").splitlines()[2:]

    assert len(ticks) == 11
    assert all(re.fullmatch(r"- \[ \] .+\]\([a-z/._-]+\)\.", tick) for tick in ticks)


def test_the_page_for_upgrades_has_a_section_of_this_version() -> None:
    minor = ".".join(__version__.split(".")[:2])

    assert f"\n## {minor}\n" in (HOWTO / "upgrading.md").read_text(encoding="utf-8")
