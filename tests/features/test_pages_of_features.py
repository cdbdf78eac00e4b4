"""The requests on the pages of second factors work as they are written, with the user and the codes of the test."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from ninja_auth_kit.contrib.email_code.testing import emailed_code
from tests.conftest import EMAIL, PASSWORD, Api, users_have_names
from tests.features.conftest import Authenticator
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

FEATURES = ROOT / "docs" / "features"
REQUEST = re.compile(
    r"<!-- request: (?P<name>[\w-]+) -->\n +curl (?:--json '(?P<body>.*?)' )?"
    r"(?P<token>-H \"Authorization: Bearer <access_token>\" )?\$API/(?P<path>\S+)\n"
)


class Page:
    """The requests and the answers of one page."""

    def __init__(self, name: str, api: Api) -> None:
        self.text, self.api = (FEATURES / name).read_text(encoding="utf-8"), api
        self.requests = {found["name"]: found for found in REQUEST.finditer(self.text)}

    def send(self, name: str, *, token: str = "", id: str = "", **values: str) -> Any:
        """Send a request of the page with other values in its body, and return the answer."""
        found = self.requests[name]
        body = json.loads(found["body"]) | values if found["body"] else None
        assert bool(found["token"]) == bool(token)
        path = found["path"].replace("<id>", id)
        method = "POST" if body is not None else "GET"
        return self.api(method, path, body, token=token or None)

    def shown(self, name: str) -> dict[str, Any]:
        """Return the answer that the page shows after a request."""
        after = self.text[self.requests[name].end() :]
        block = re.search(r"```json\n(.*?)```", after, re.DOTALL)
        assert block is not None
        return dict(json.loads(block[1]))


def test_the_requests_of_the_pages_work_and_answer_as_shown(api: Api, user: Any) -> None:
    apps, factors, step_up = (Page(name, api) for name in ("authenticator-apps.md", "second-factors.md", "step-up.md"))
    token = api.pair()["access_token"]

    begun = apps.send("enrol", token=token)
    assert begun.status_code == 201
    assert list(begun.json()) == list(apps.shown("enrol"))
    app = Authenticator(begun.json()["secret"])
    confirmed = apps.send("confirm", token=token, id=begun.json()["id"], code=app.code(steps=-1)).json()
    assert list(confirmed) == list(apps.shown("confirm"))
    assert list(confirmed["factor"]) == list(apps.shown("confirm")["factor"])

    pending = factors.send("login", email=EMAIL, password=PASSWORD)
    assert pending.status_code == 202
    shown = factors.shown("login")
    assert pending.json() == {**shown, "challenge_token": pending.json()["challenge_token"]}
    challenge = pending.json()["challenge_token"]
    done = factors.send("totp", challenge_token=challenge, code=app.code())
    assert list(done.json()) == list(factors.shown("totp"))
    code = confirmed["recovery_codes"][0].lower().replace("-", " ")
    challenge = factors.send("login", email=EMAIL, password=PASSWORD).json()["challenge_token"]
    by_code = factors.send("recovery-code", challenge_token=challenge, code=code)
    assert by_code.json()["recovery_codes_left"] == 9

    token = by_code.json()["access_token"]
    methods = step_up.send("methods", token=token).json()
    assert methods["methods"] == step_up.shown("methods")["methods"]
    raised = step_up.send("step-up", token=token, code=app.code(steps=1))
    assert list(raised.json()) == list(step_up.shown("step-up"))
    assert raised.json()["acr"] == "aal2"


def test_the_requests_of_the_page_of_email_codes_work_and_answer_as_shown(api: Api, user: Any) -> None:
    page = Page("email-codes.md", api)

    asked = page.send("request", email=EMAIL)
    assert asked.status_code == 202
    challenge = asked.json()["challenge_token"]
    assert asked.json() == {**page.shown("request"), "challenge_token": challenge}
    done = page.send("login", challenge_token=challenge, code=emailed_code())
    assert done.status_code == 200
    assert list(done.json()) == list(page.shown("login"))


@pytest.mark.skipif(not users_have_names(), reason="the page has users with a username")
def test_the_test_on_the_page_of_email_codes_passes(client: Client) -> None:
    (code,) = re.findall(r"```python\n(# test_email_codes.py\n.*?)```", Page("email-codes.md", Api()).text, re.DOTALL)
    names: dict[str, Any] = {}

    exec(code, names)  # noqa: S102  # the page is ours
    names["test_a_code_logs_in"](client)
