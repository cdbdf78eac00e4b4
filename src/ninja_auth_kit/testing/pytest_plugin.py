"""The helpers as fixtures, for projects that ask: `pytest_plugins = ["ninja_auth_kit.testing.pytest_plugin"]`.

Nothing of the kit is imported before a fixture is used: pytest loads this before Django has its settings.
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
def acting_as() -> Iterator[Callable[[Any, Any], Any]]:
    """Return what lets a client act as a user until the test ends, and returns the tokens."""
    from ninja_auth_kit import testing

    with ExitStack() as until_the_end:
        yield lambda client, user: until_the_end.enter_context(testing.acting_as(client, user))


@pytest.fixture
def audit_events() -> Iterator[Any]:
    """Return the `AuditEvents` of the test, from here to its end."""
    from ninja_auth_kit import testing

    with testing.capture_audit_events() as events:
        yield events


@pytest.fixture
def auth_kit_settings() -> Iterator[Callable[..., None]]:
    """Return what sets keys of `NINJA_AUTH_KIT` until the test ends."""
    from ninja_auth_kit import testing

    with ExitStack() as until_the_end:

        def override(**keys: Any) -> None:
            until_the_end.enter_context(testing.override_auth_kit(**keys))

        yield override
