"""The system's Chromium for the tests of pages: found, or in CI installed as RabbitMQ is; else they are skipped."""

import os
import shutil

import pytest

from tests.with_services import install

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It is to talk to the test's own server and to nobody else.
ARGUMENTS = [
    "--no-sandbox",  # root may not have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def program() -> str:
    """Return the path of Chromium; skips the test where there is none, and fails it in CI."""
    found = _found() or (install("chromium", if_asked_by="CHROMIUM_INSTALL") and _found()) or None
    if found is None:
        assert not os.environ.get("CI"), "no Chromium, and none could be installed"
        pytest.skip("no Chromium on this machine; install one to have the page tested")
    return found


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
