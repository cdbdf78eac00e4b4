"""Run the whole flow against a running server: `python walk.py [--url http://localhost:8000]`.

Print each request as a curl command ($API is the address of the API), its response, and its audit events from
RabbitMQ. Exit with 1 at the first response or event that is not the expected one. The server must run with DEBUG,
because the walk reads its mailbox. The broker is that of RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER,
RABBITMQ_PASSWORD, RABBITMQ_VHOST and RABBITMQ_TLS; if it does not answer, the events are left out. The exchange is
that of the demo, or of AUDIT_EXCHANGE.
"""

import argparse
import http.client
import json
import os
import re
import secrets
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import pyotp

from broker import BrokerSettingsError, Events, parameters
from own_names import own_exchange

PATIENCE = 20  # seconds to wait for an email
PASSWORD = "a long walk in the hills"


class UnexpectedError(Exception):
    """A response or an event is not the expected one; the text says which."""


class Server:
    """The server that the walk sends its requests to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "localhost", parts.port or 80

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, request_id: str = ""
    ) -> tuple[int, Any]:
        """Send a request; return the status and the parsed body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        headers = {"X-Request-ID": request_id} if request_id else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
        except OSError as error:
            raise UnexpectedError(
                f"no response from {self.host}:{self.port} ({error}). Is the demo running?"
            ) from error
        finally:
            connection.close()
        return response.status, json.loads(data) if data and is_json else None


class Walk:
    """The steps of the flow, each with its request, its response and its events."""

    def __init__(self, server: Server, events: Events) -> None:
        self.server, self.events = server, events
        self.number = 0
        self.name = secrets.token_hex(4)

    def step(
        self,
        title: str,
        request: str,
        body: Any = None,
        *,
        token: str | None = None,
        expect: int,
        code: str | None = None,
        events: tuple[str, ...] = (),
    ) -> Any:
        """Send a request, print it with its response and its events, and return the body of the response."""
        self.number += 1
        method, path = request.split()
        request_id = f"walk-{self.name}-{self.number}"
        print(f"# {title}\n$ {curl(method, path, body, token)}")
        status, answer = self.server.request(method, path, body, token=token, request_id=request_id)
        print(f"{status} {shown(answer)}".rstrip())
        if status != expect or (code is not None and answer.get("code") != code):
            raise UnexpectedError(f"the response should be {expect}{f' {code}' if code else ''}")
        arrived = self.events.of_request(request_id, len(events))
        for key in arrived:
            print(f"event {key}")
        if self.events.are_heard() and arrived != list(events):
            raise UnexpectedError(f"the events should be: {', '.join(events) or '(no event)'}")
        print()
        return answer

    def mailed_token(self, address: str) -> str:
        """Wait for an email to an address, and return the token of the newest one."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status, answer = self.server.request("GET", "/mailbox/?format=json")
            if status != 200:
                raise UnexpectedError(f"/mailbox/ responded with {status}. Does the server run with DEBUG?")
            for mail in answer["mails"]:
                found = re.search(r"#token=(\S+)", mail["body"])
                if mail["to"] == address and found:
                    print(f"email to {address}: {mail['subject']}\n")
                    return found[1]
            time.sleep(0.1)
        raise UnexpectedError(f"no email to {address} within {PATIENCE} seconds")


def curl(method: str, path: str, body: Any, token: str | None) -> str:
    """Return a request as a curl command, with shortened tokens and ids."""
    words = ["curl", "-s"]
    if token is not None:
        words.append(f"-H 'Authorization: Bearer {shortened(token)}'")
    if body is not None:
        words.append(f"--json '{shown(body)}'")
    elif method != "GET":
        words.append(f"-X {method}")
    return " ".join([*words, f"$API{shortened(path.removeprefix('/api'))}"])


def shown(value: Any) -> str:
    """Return a body as JSON, with shortened tokens, ids and secrets; of a problem, only `code` and `detail`."""
    if isinstance(value, dict) and "code" in value and "detail" in value:
        value = {"code": value["code"], "detail": value["detail"]}
    return "" if value is None else shortened(json.dumps(value, ensure_ascii=False))


def shortened(text: str) -> str:
    """Return the text with shortened tokens, ids and secrets."""
    text = re.sub(r"(eyJ\w{5}|nak[rot]_)[\w.-]{20,}", r"\1…", text)
    text = re.sub(r"[A-Z2-7]{32}", "SECRET", text)
    text = re.sub(r"<svg.*?</svg>", "<svg>…</svg>", text)
    text = re.sub(r'"(?:[0-9A-Z]{4}-){5}[0-9A-Z]{4}"(?:, )?', "", text).replace(
        '"recovery_codes": []', '"recovery_codes": [10 codes]'
    )
    return re.sub(r"\b([0-9a-f]{4})[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", r"\1…", text)


def play(walk: Walk) -> None:
    """Run all steps."""
    address = f"walker-{walk.name}@example.com"
    credentials = {"email": address, "password": PASSWORD}
    step = walk.step

    step("Register", "POST /api/auth/register", credentials, expect=202, events=("auth.user.registered.success",))
    token = walk.mailed_token(address)
    step(
        "Log in before the email address is verified",
        "POST /api/auth/login",
        credentials,
        expect=403,
        code="email_not_verified",
        events=("auth.session.login.failure",),
    )
    step(
        "Verify the email address, with the token of the email and the password",
        "POST /api/auth/verify-email",
        {"token": token, "password": PASSWORD},
        expect=200,
        events=("auth.email.verified.success",),
    )
    login = "POST /api/auth/login"
    phone = step("Log in on the phone", login, credentials, expect=200, events=("auth.session.login.success",))
    access = phone["access_token"]
    step("Get the account", "GET /api/auth/me", token=access, expect=200)
    step("Use the project's own API", "POST /api/notes", {"text": "remember the milk"}, token=access, expect=201)
    phone = step(
        "Refresh",
        "POST /api/auth/refresh",
        {"refresh_token": phone["refresh_token"]},
        expect=200,
        events=("auth.session.refresh.success",),
    )
    laptop = step(
        "Log in on the laptop, which ends the session on the phone",
        login,
        credentials,
        expect=200,
        events=("auth.session.revoked.success", "auth.session.login.success"),
    )
    access = phone["access_token"]
    step(
        "The next request of the phone is rejected",
        "GET /api/auth/me",
        token=access,
        expect=401,
        code="session_ended",
    )
    step(
        "The phone cannot refresh",
        "POST /api/auth/refresh",
        {"refresh_token": phone["refresh_token"]},
        expect=401,
        code="session_ended",
        events=("auth.session.refresh.failure",),
    )
    access = laptop["access_token"]
    step("List the active sessions", "GET /api/auth/sessions", token=access, expect=200)
    desktop = play_second_factor(walk, credentials, access)
    access = desktop["access_token"]
    step(
        "Log out",
        "POST /api/auth/logout",
        {"refresh_token": desktop["refresh_token"]},
        expect=204,
        events=("auth.session.logout.success",),
    )
    step(
        "The access token is rejected after the logout",
        "GET /api/auth/me",
        token=access,
        expect=401,
        code="session_ended",
    )


def play_second_factor(walk: Walk, credentials: dict[str, str], access: str) -> Any:
    """Add an authenticator app, and log in with its code; return the tokens."""
    step = walk.step
    step(
        "A route that requires a second factor refuses the password alone",
        "DELETE /api/notes",
        token=access,
        expect=401,
        code="insufficient_user_authentication",
    )
    begun = step("Add an authenticator app", "POST /api/auth/factors/totp", {"name": "app"}, token=access, expect=201)
    app = pyotp.TOTP(begun["secret"])
    now = int(time.time())
    laptop = step(
        "Confirm it with a code, which replaces all sessions by one with two factors",
        f"POST /api/auth/factors/totp/{begun['id']}/confirm",
        {"code": app.at(now)},
        token=access,
        expect=200,
        events=("auth.session.revoked.success", "auth.factor.added.success", "auth.session.login.success"),
    )["tokens"]
    step("The route lets the new session in", "DELETE /api/notes", token=laptop["access_token"], expect=204)
    pending = step(
        "From now on, the password alone starts no session and ends none",
        "POST /api/auth/login",
        credentials,
        expect=202,
        events=("auth.session.factor.success",),
    )
    return step(
        "Log in on the desktop with the next code",
        "POST /api/auth/login/totp",
        {"challenge_token": pending["challenge_token"], "code": app.at(now, counter_offset=1)},
        expect=200,
        events=("auth.session.revoked.success", "auth.session.login.success"),
    )


def main() -> int:
    """Run the flow, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    port = os.environ.get("PORT", "8000")
    parser.add_argument("--url", default=f"http://localhost:{port}", help="the server (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        server = Server(arguments.url)
        parameters(os.environ)
        server.request("GET", "/")  # without a server, leave the broker as it is
        names = {"AUDIT_EXCHANGE": own_exchange(str(server.port)) or ""}
        play(Walk(server, Events({**names, **os.environ})))
    except BrokerSettingsError as error:
        print(f"The walk cannot start. {error}", file=sys.stderr)
        return 1
    except UnexpectedError as error:
        print(f"\nUnexpected result: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
