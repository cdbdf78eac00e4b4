"""Do one task for a contender in a new process: start like a web worker, or purge like cron."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.peers import project
from benchmarks.peers.contenders import named


def main(name: str, work: str) -> None:
    """Do the task and print its seconds, its processor time, its peak memory in MB, and the number of loaded modules.

    A start is measured from before the process was created. A purge prints "ready", and is measured
    from the line that it then reads.
    """
    if work == "parts":
        print(json.dumps(_parts_of_the_start(name)))
        return
    contender, began = named(name), float(os.environ["BEGAN"])
    project.configure(contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
    if work == "start":
        project.application_of(contender)
    else:
        began = _wait_for_start()
        contender.purge()
    print(json.dumps({"seconds": time.time() - began, **_used()}))


def _parts_of_the_start(name: str) -> dict[str, dict[str, float]]:
    """Start like a web worker, but load the libraries first. Return what each part adds."""
    found: dict[str, dict[str, float]] = {}
    last: dict[str, float] = {"cpu": 0, "memory": 0, "modules": 0}

    def note(part: str) -> None:
        nonlocal last
        now = _used()
        found[part] = {key: now[key] - last[key] for key in now}
        last = now

    note("python")
    import django
    from django.conf import settings

    import_module("django.core.handlers.wsgi")
    settings.configure(**project.common(os.environ["DATABASE_URL"], "cheap"))
    import_module("ninja")
    note("ninja")
    import_module("jwt")  # it loads cryptography
    note("jwt")
    contender = named(name)
    for key, value in project.own(contender).items():
        setattr(settings, key, value)
    django.setup()
    note("apps")
    project.application_of(contender)
    note("urls")
    return found


def _used() -> dict[str, float]:
    """Return the seconds of processor time, the MB of memory and the modules of this process so far."""
    # Unlike `ru_maxrss`, it does not begin with the memory of the parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return {"cpu": time.process_time(), "memory": memory, "modules": len(sys.modules)}


def _wait_for_start() -> float:
    from django.db import connection

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    return time.time()


if __name__ == "__main__":
    main(*sys.argv[1:3])
