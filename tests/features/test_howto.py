"""The code of the guide to second factors, and the fetch wrapper, with a real server and a user who has a factor."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ninja import NinjaAPI
from ninja.testing import TestClient

from ninja_auth_kit.contrib.totp.testing import enrol_totp, totp_code
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.testing import auth_headers
from tests.conftest import EMAIL, PASSWORD, Api
from tests.features.conftest import Enrolled
from tests.howto import block, install_from_npm, program, run_in
from tests.servers import Server
from tests.test_clients import run
from tests.test_howto import TYPESCRIPT, compile_typescript, wrapper

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "second-factors"
DAY = int(timedelta(days=1).total_seconds())


@pytest.fixture
def remember(api: Api, enrolled: Enrolled, kit: Callable[..., None], pend: Callable[..., str]) -> Callable[[], str]:
    """Return a function that remembers a device, on which a session starts at level 1. It uses the present code up."""
    kit(FACTORS={"REMEMBER_DEVICE": DAY})

    def device_token() -> str:
        body = {"challenge_token": pend(), "code": enrolled.app.code(), "remember_device": True}
        return str(api.post("login/totp", body).json()["device_token"])

    return device_token


@pytest.mark.demo
def test_the_wrapper_completes_a_login_with_the_code(
    servers: Callable[..., Server], enrolled: Enrolled, tmp_path: Path
) -> None:
    script = f"""
    const session = new AuthSession(base);
    const pending = await session.login({{ email, password }});
    const before = [pending.methods, session.isSignedIn];
    const wrong = await session.completeLogin(pending, "totp", "{enrolled.app.wrong_code()}").catch((error) => error);
    await session.completeLogin(pending, "totp", "{enrolled.app.code()}");
    console.log(JSON.stringify({{ before, wrong: [wrong.status, wrong.code], after: await me(session) }}));
    """

    said = run(servers(), script, tmp_path)

    assert said == {
        "before": [["totp", "recovery_code"], False],
        "wrong": [401, "invalid_factor"],
        "after": 200,
    }


@pytest.mark.demo
def test_the_wrapper_makes_one_step_up_for_parallel_requests_and_another_when_its_token_has_expired(
    servers: Callable[..., Server], enrolled: Enrolled, remember: Callable[[], str], tmp_path: Path
) -> None:
    script = f"""
    const proofs = {json.dumps(enrolled.codes[:2])};
    const asked = [];
    const session = new AuthSession(base, {{
      onStepUp: async (required) => {{
        asked.push([required.acr_values, required.max_age]);
        await session.stepUp("recovery_code", {{ code: proofs.shift() }});
        return true;
      }},
    }});
    const pending = await session.login({{ email, password, device_token: "{remember()}" }});
    const forget = () => session.fetch(`${{base}}/devices`, {{ method: "DELETE" }}).then((answer) => answer.status);
    const protect = () => session.fetch(`${{base}}/factors/totp`, {{
      method: "POST", headers: {{ "Content-Type": "application/json" }}, body: "{{}}",
    }}).then((answer) => answer.status);
    const refresh = session.store.get().refresh_token;
    const first = await Promise.all([protect(), protect()]);
    const kept = session.store.get().refresh_token === refresh;
    await wait(6.1);
    const second = await protect();
    const open = await forget();
    console.log(JSON.stringify({{ pending, first, kept, second, asked, refreshes: counts.refresh, open }}));
    """

    said = run(
        servers(ACCESS_TOKEN_LIFETIME=6, FACTORS={"REMEMBER_DEVICE": DAY}, STEP_UP_MAX_AGE=60), script, tmp_path
    )

    assert said == {
        "pending": None,
        "first": [201, 201],
        "kept": True,
        "second": 201,
        "asked": [["aal2", 60]] * 2,
        "refreshes": 1,
        "open": 204,
    }


@pytest.mark.demo
def test_without_a_proof_the_wrapper_returns_the_refusal_with_its_body(
    servers: Callable[..., Server], enrolled: Enrolled, remember: Callable[[], str], tmp_path: Path
) -> None:
    script = f"""
    const session = new AuthSession(base);
    await session.login({{ email, password, device_token: "{remember()}" }});
    const answer = await session.fetch(`${{base}}/factors/recovery-codes`, {{ method: "POST" }});
    console.log(JSON.stringify({{
      refused: [answer.status, (await answer.json()).code], refreshes: counts.refresh ?? 0, after: await me(session),
    }}));
    """

    said = run(servers(FACTORS={"REMEMBER_DEVICE": DAY}), script, tmp_path)

    assert said == {"refused": [401, "insufficient_user_authentication"], "refreshes": 0, "after": 200}


# Requests go to the server, and the answers to `ask` are those of the test.
FRONT_END = """
const [site, email, password, deviceToken, ...answers] = process.argv.slice(2);
const { Request } = globalThis;
const absolute = (input) => (typeof input === "string" ? new URL(input, site).href : input);
globalThis.Request = class extends Request { constructor(input, init) { super(absolute(input), init); } };
const real = globalThis.fetch;
globalThis.fetch = (input, init) => real(absolute(input), init);
const asked = [];
require("./dist/src/dialogs.js").answerWith(async (question) => {
  asked.push(question);
  return answers.shift() ?? null;
});
const { login, session } = require("./dist/src/session.js");
(async () => {
  await login(email, password);
  const signedIn = session.isSignedIn;
  await session.login({ email, password, device_token: deviceToken });
  const renewed = await session.fetch("/api/auth/factors/recovery-codes", { method: "POST" });
  await session.login({ email, password, device_token: deviceToken });
  const refused = await session.fetch("/api/auth/factors/recovery-codes", { method: "POST" });
  console.log(JSON.stringify({ signedIn, statuses: [renewed.status, refused.status], asked }));
})();
"""
DIALOGS = """
let answer: (question: string) => Promise<string | null> = async () => null;
export const answerWith = (other: typeof answer) => { answer = other; };
export const ask = (question: string) => answer(question);
"""


@pytest.mark.demo
def test_the_code_for_the_front_end_has_sound_types_and_asks_for_codes(
    servers: Callable[..., Server], enrolled: Enrolled, remember: Callable[[], str], tmp_path: Path
) -> None:
    enrol_totp(enrolled.user)  # another app, whose code has not been used for the login
    device_token, server = remember(), servers(FACTORS={"REMEMBER_DEVICE": DAY})
    front = tmp_path / "front"
    install_from_npm(front, f"typescript@{TYPESCRIPT['devDependencies']['typescript']}")
    source = front / "src"
    source.mkdir()
    (source / "authkit.js").write_text(wrapper())
    (source / "dialogs.ts").write_text(DIALOGS)
    (source / "session.ts").write_text(block(PAGE, "ts", "src/session.ts"))
    compile_typescript(front)
    (front / "run.cjs").write_text(FRONT_END)
    codes = [enrolled.app.wrong_code(), enrolled.app.code(steps=1), totp_code(enrolled.user)]
    site = f"http://127.0.0.1:{server.port}"

    said = json.loads(run_in(front, program("node"), "run.cjs", site, EMAIL, PASSWORD, device_token, *codes))

    question = "Enter the code of your authenticator app."
    assert said == {"signedIn": True, "statuses": [200, 401], "asked": [question] * 4}


def test_the_router_of_the_guide_is_for_staff_with_a_second_factor(
    make_user: Callable[..., Any], api: Api, later: Callable[..., Any]
) -> None:
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(block(PAGE, "python", "staff/api.py"), "second-factors.md", "exec"), space)  # noqa: S102
    project = NinjaAPI(urls_namespace="the guide to second factors")
    project.add_router("", space["router"])
    client = TestClient(project)
    staff, user = make_user("grace@example.com", is_staff=True), make_user()

    weak = client.get("/refunds", headers=auth_headers(staff))
    assert (weak.status_code, weak.json()["code"]) == (401, "insufficient_user_authentication")
    assert weak["WWW-Authenticate"].endswith('acr_values="aal2"')
    strong = auth_headers(staff, acr="aal2")
    assert client.get("/refunds", headers=strong).status_code == 200
    assert client.post("/refunds/7/approve", headers=strong).json() == {"approved": 7}
    assert client.get("/refunds", headers=auth_headers(user, acr="aal2")).status_code == 403
    assert UserSession.objects.filter(is_active=True).count() == 2
