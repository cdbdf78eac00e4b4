"""The helpers as fixtures: set `pytest_plugins = ["ninja_auth_kit.testing.pytest_plugin"]` in your conftest.py.

The fixtures import the kit when they are used, because pytest loads plugins before Django's settings are configured.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def issue_tokens() -> Callable[..., Any]:
    """Return `ninja_auth_kit.testing.issue_tokens`."""
    from ninja_auth_kit import testing

    return testing.issue_tokens


@pytest.fixture
def auth_headers() -> Callable[..., dict[str, str]]:
    """Return `ninja_auth_kit.testing.auth_headers`."""
    from ninja_auth_kit import testing

    return testing.auth_headers


@pytest.fixture
def acting_as() -> Iterator[Callable[..., Any]]:
    """Return a function that logs in a client as a user until the end of the test, and returns the tokens."""
    from ninja_auth_kit import testing

    with ExitStack() as stack:
        yield lambda client, user, **options: stack.enter_context(testing.acting_as(client, user, **options))


@pytest.fixture
def audit_events() -> Iterator[Any]:
    """Return the audit events of the test, as an `AuditEvents`."""
    from ninja_auth_kit import testing

    with testing.capture_audit_events() as events:
        yield events


@pytest.fixture
def auth_kit_settings() -> Iterator[Callable[..., None]]:
    """Return a function that sets keys of `NINJA_AUTH_KIT` until the end of the test."""
    from ninja_auth_kit import testing

    with ExitStack() as stack:

        def override(**keys: Any) -> None:
            stack.enter_context(testing.override_auth_kit(**keys))

        yield override
