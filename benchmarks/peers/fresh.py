"""Start new processes that do one task for a contender; see `benchmarks.peers.once`."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from tests.servers import ROOT


def process(name: str, work: str, *, database_url: str) -> subprocess.Popen[str]:
    """Start a process that does one task for a contender.

    Its modules are compiled as those of an installed package are, whatever this environment says of bytecode.
    """
    paths = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.once", name, work],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPATH": paths,
            "DATABASE_URL": database_url,
            "BEGAN": repr(time.time()),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def result_of(started: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the figures of a process after it has ended. A purge is started first."""
    said, _ = started.communicate("go\n", timeout=600)
    if started.returncode:
        raise SystemExit("The process failed. Its output is above.")
    *_, figures = said.splitlines()  # management commands may print lines before the figures
    return dict(json.loads(figures))
