"""What a web worker does not import when it starts, and that the first use of it is safe from many threads."""

import json
from typing import Any

import pytest
from django.contrib.auth import password_validation
from pytest_django import Settings

from ninja_auth_kit.tokens import check_keys
from tests.test_startup import start

# Each reason to import later, and the modules. A package includes the modules below it.
LATER = {
    "with the first token": ["jwt", "cryptography"],
    "with the first domain that is not ASCII": ["idna"],
    "in the processes of the broker": [
        "pika",
        "ninja_auth_kit.audit.broker",
        "ninja_auth_kit.audit.relay",
        "ninja_auth_kit.consumer",
    ],
    "with a document": ["ninja_auth_kit.audit.events.schemas"],
    "in commands": ["ninja_auth_kit.management"],
    "with the pages of the admin": ["ninja_auth_kit.admin"],
    "in tests": ["ninja_auth_kit.testing"],
    "if the app is installed": ["ninja_auth_kit.contrib"],
}

WORKER = """
import sys
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
from django.urls import get_resolver
get_resolver().url_patterns
"""

PRINT_MODULES = (
    WORKER
    + """
import json
print(json.dumps(sorted(sys.modules)))
"""
)

PRINT_EVENT_DATACLASSES = (
    WORKER
    + """
from ninja_auth_kit.audit.events import all_events
print([kind.__name__ for kind in all_events() if "__dataclass_fields__" in vars(kind)])
"""
)

# Each thread waits for all the others, and they take turns as often as possible.
FROM_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
THREADS = 16
sys.setswitchinterval(1e-6)
barrier = Barrier(THREADS)
def at_once(number):
    barrier.wait()
    return use(number)
with ThreadPoolExecutor(THREADS) as pool:
    print(*sorted(set(pool.map(at_once, range(THREADS)))))
"""

ISSUE_AND_READ = """
import uuid
from ninja_auth_kit.levels import AAL1, Authentication
from ninja_auth_kit.tokens import issue_access_token, read_access_token
def use(number):
    proved = Authentication(AAL1, ("pwd",), 1)
    token = issue_access_token(user_id=str(number), session_id=uuid.uuid4(), authentication=proved)
    return read_access_token(token).user_id == str(number)
"""

RECORD_AND_PARSE = """
from ninja_auth_kit.audit.events import LoggedIn, parse
from ninja_auth_kit.audit.record.cloudevent import build_cloudevent
def use(number):
    message = build_cloudevent(LoggedIn, client=None, user=None, methods=["pwd"], acr="aal2")
    event = parse(message.payload)
    return f"{type(event).__name__} {event.actor.type} {event.details.acr}"
"""


def last_line(code: str) -> str:
    """Return the last line that a new process prints, which must succeed."""
    status, output = start(["-c", code])
    assert status == 0, output
    return output.splitlines()[-1]


@pytest.mark.parametrize("reason", LATER)
def test_a_web_worker_imports_this_only_when_it_is_needed(reason: str) -> None:
    loaded = json.loads(last_line(PRINT_MODULES))

    assert "ninja_auth_kit.api.routes" in loaded
    assert [name for name in loaded for later in LATER[reason] if f"{name}.".startswith(f"{later}.")] == []


def test_a_web_worker_generates_the_methods_of_no_event() -> None:
    assert last_line(PRINT_EVENT_DATACLASSES) == "[]"


def test_the_first_tokens_of_sixteen_threads_are_genuine() -> None:
    assert last_line(WORKER + ISSUE_AND_READ + FROM_THREADS) == "True"


def test_the_first_events_of_sixteen_threads_are_complete() -> None:
    assert last_line(WORKER + RECORD_AND_PARSE + FROM_THREADS) == "LoggedIn user aal2"


def test_a_random_key_is_accepted_without_the_list_of_passwords(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In lower case and without its separators, it has a row of 19 letters, which could be passwords.
    settings.JWT_SECRET_KEY = "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-benchmarks"
    monkeypatch.setattr(password_validation.CommonPasswordValidator, "__init__", _refuse)

    check_keys()


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("The list of passwords was read.")
