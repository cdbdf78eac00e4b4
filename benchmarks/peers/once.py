"""What a contender does once in a fresh process: start, or delete what has expired."""

import json
import os
import resource
import subprocess
import sys
import time

from benchmarks.peers import project
from benchmarks.peers.contenders import named
from tests.servers import ROOT


def process(name: str, work: str, *, database_url: str) -> subprocess.Popen[str]:
    """Let a contender do something in a fresh process."""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.once", name, work],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    )


def result_of(started: subprocess.Popen[str]) -> dict[str, float]:
    """Wait until it is done, and return its figures; see `main`."""
    said, _ = started.communicate(timeout=600)
    if started.returncode:
        raise SystemExit(f"{' '.join(map(str, started.args[-2:]))} has failed; what it said is above.")  # type: ignore[index]
    *_, figures = said.splitlines()  # commands may say how much they did
    return dict(json.loads(figures))


def main(name: str, work: str) -> None:
    """Start as a web worker does, or purge as cron does; say the seconds, the most MB, and how many modules."""
    contender, began = named(name), time.perf_counter()
    project.configure(contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
    if work == "start":
        project.application_of(contender)
    else:
        began = time.perf_counter()
        contender.purge()
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "modules": len(sys.modules)}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
