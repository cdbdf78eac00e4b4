"""Find the system's Chromium for the page tests, or install it if CI or CHROMIUM_INSTALL is set."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.test import override_settings
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.with_services import install

expect.set_options(timeout=20_000)  # milliseconds; other tests run beside these on a slow machine
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = program()
    with sync_playwright() as playwright:
        # Playwright's event loop runs in this thread, and Django's ORM refuses to run beside one.
        before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE") if before is None else None


@contextmanager
def served() -> Iterator[str]:
    """Serve the project of the tests, with its present settings, in a thread, and yield the URL.

    The fixture `live_server` keeps the settings of the first test that uses it.
    """
    with override_settings(STATIC_URL="/static/"):
        server = LiveServer("localhost")
        try:
            yield server.url
        finally:
            server.stop()
