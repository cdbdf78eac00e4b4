"""Find the system's Chromium for the page tests, or install it if CI or CHROMIUM_INSTALL is set."""

import os
import shutil

import pytest

from tests.with_services import install

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The browser must connect only to the server of the test.
ARGUMENTS = [
    "--no-sandbox",  # root may not be able to use a sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def program() -> str:
    """Return the path of Chromium. Without it the test is skipped, or fails in CI."""
    found = _found() or (install("chromium", if_asked_by="CHROMIUM_INSTALL") and _found()) or None
    if found is None:
        assert not os.environ.get("CI"), "Chromium is not installed, and installing it failed"
        pytest.skip("Chromium is not installed, so the page cannot be tested")
    return found


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
