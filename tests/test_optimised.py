"""The kit works under `python -O` and `-OO`, which remove the assertions and the docstrings."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.howto import Project
from tests.test_example import database

__all__ = ["database"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

SETTINGS = """
LOGGING = {"version": 1}
NINJA_AUTH_KIT = {"THROTTLES": {}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
# Everything that a user does, and the documents that are made from the code. It raises instead of
# asserting, and prints the answers and the document.
FLOW = """
import io, json, os, re
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
client, answers, password = Client(raise_request_exception=False), [], "a long walk in the hills"

def send(method, path, bearer=None, **body):
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    sent = getattr(client, method)(f"/api/{path}", body or None, content_type="application/json", headers=headers)
    said = sent.json() if sent.content else {}
    answers.append([f"{method} {path}", sent.status_code, said.get("code") if isinstance(said, dict) else None])
    return said

def mailed():
    return re.search(r"#token=(\\S+)", mail.outbox.pop().body)[1]

def login():
    return send("post", "auth/login", email="ada@example.com", password=password)

def login_by_name():
    return send("post", "auth/login", username="ada", password=password)

send("post", "auth/register", email="ada@example.com", username="ada", password="short", more=1)
send("post", "auth/register", email="ada@example.com", username="ada", password=password)
send("post", "auth/verify-email", token=mailed(), password=password)
first = login()
pair = send("post", "auth/refresh", refresh_token=first["refresh_token"])
send("get", "auth/me", pair["access_token"])
send("get", "hello", pair["access_token"])
send("get", "hello", "no.valid.token")
send("get", "auth/sessions", pair["access_token"])
send("post", "auth/password/change", pair["access_token"], current_password=password, new_password=f"{password}!")
password = f"{password}!"
second = login()
send("get", "hello", pair["access_token"])
send("post", "auth/password/reset", email="ada@example.com")
send("post", "auth/password/reset/confirm", token=mailed(), new_password=password[:-1])
password = password[:-1]
third = login()
send("post", "auth/email/change", third["access_token"], new_email="countess@example.com", password=password)
mail.outbox[:] = [one for one in mail.outbox if one.to == ["countess@example.com"]]
send("post", "auth/email/change/confirm", token=mailed())
send("post", "auth/logout", refresh_token=login_by_name()["refresh_token"])
send("delete", "auth/me", login_by_name()["access_token"], password=password)
for command in ("prune", "asyncapi", "status", "revoke --everyone"):
    call_command(*f"authkit_{command}".split(), stdout=io.StringIO(), stderr=io.StringIO())
call_command("check", deploy=True, fail_level="CRITICAL", stderr=io.StringIO())
document = client.get("/api/auth/openapi.json").json()
print(json.dumps([answers, document]))
"""


def without_descriptions(document: Any) -> Any:
    if isinstance(document, list):
        return [without_descriptions(item) for item in document]
    if isinstance(document, dict):
        return {
            key: without_descriptions(item)
            for key, item in document.items()
            if key != "description" or not isinstance(item, str)
        }
    return document


def test_the_whole_flow_is_the_same_without_assertions_and_without_docstrings(tmp_path: Path, database: str) -> None:
    project = Project(tmp_path, database)
    project.settings(SETTINGS)
    project.write("flow.py", FLOW)
    project.python("-W", "error", "-OO", "manage.py", "migrate", "--verbosity", "0")

    def said(*options: str) -> tuple[list[Any], Any]:
        answers, document = json.loads(project.python("-W", "error", *options, "flow.py"))
        return answers, document

    expected, document = said()
    without_assertions, same_document = said("-O")
    without_docstrings, short_document = said("-OO")

    assert len(expected) == 21
    assert [status for _, status, _ in expected if status >= 300] == [422, 401, 401]
    assert without_assertions == without_docstrings == expected
    assert same_document == document
    assert without_descriptions(short_document) == without_descriptions(document)
