"""The system's Chromium for the tests of pages: found, or in CI installed as RabbitMQ is; else they are skipped."""

import os
import shutil
import subprocess

import pytest

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
    found = _found() or _installed()
    if found is None:
        assert not os.environ.get("CI"), "no Chromium, and none could be installed"
        pytest.skip("no Chromium on this machine; install one to have the page tested")
    return found


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _installed() -> str | None:
    """Install Debian's package, in CI alone, and only as root, as in a container."""
    if not os.environ.get("CI") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
        if subprocess.run(command, env=quiet, capture_output=True, check=False).returncode != 0:
            return None
    return _found()
