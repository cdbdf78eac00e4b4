"""The number of files that a login and a logout enter; `make hops` prints it for every operation.

The benchmark has its own settings, so `tox.ini` runs this in only one environment of `make test`.
"""

import json
import subprocess
import sys

import pytest

from tests.servers import ROOT

pytestmark = [pytest.mark.one_django, pytest.mark.one_user_model]

# The current counts. Lower them when a change allows it, and do not raise them without a reason: a logout enters
# kept_connections.py, which gives it a connection under ASGI, and both enter short_transaction.py, which saves round
# trips, and a logout tenancy.py from there.
MOST_FILES = {"login": 34, "logout": 22}


def test_the_benchmark_counts_the_files_that_a_login_enters() -> None:
    command = [sys.executable, "-m", "benchmarks.hops", "--json", "--only", *MOST_FILES]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == list(MOST_FILES)
    assert "login" in found["login"]["entered"]["services/login.py"]
    for operation, most in MOST_FILES.items():
        files = list(found[operation]["entered"])
        assert found[operation]["files"] == len(files)
        assert len(files) <= most, (operation, files)
        assert found[operation]["calls"] > found[operation]["functions"]
