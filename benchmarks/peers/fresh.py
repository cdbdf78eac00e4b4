"""Fresh processes, each of which does one thing for a contender; see `benchmarks.peers.once`."""

import json
import os
import subprocess
import sys
import time

from tests.servers import ROOT


def process(name: str, work: str, *, database_url: str) -> subprocess.Popen[str]:
    """Let a contender do something in a process of its own."""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.once", name, work],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "DATABASE_URL": database_url, "BEGAN": repr(time.time())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def result_of(started: subprocess.Popen[str]) -> dict[str, float]:
    """Tell it to go, if it waits for that; wait until it is done, and return its figures."""
    said, _ = started.communicate("go\n", timeout=600)
    if started.returncode:
        raise SystemExit("It has failed; what it said is above.")
    *_, figures = said.splitlines()  # commands may say how much they did
    return dict(json.loads(figures))
