"""The origin of the site, which the tests of passkeys have on localhost."""

from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def _site(kit: Callable[..., None]) -> None:
    kit(BASE_URL="https://example.com")
