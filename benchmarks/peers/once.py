"""What a contender does once in a fresh process: start as a web worker does, or purge as cron does."""

import json
import os
import resource
import sys
import time

from benchmarks.peers import project
from benchmarks.peers.contenders import named


def main(name: str, work: str) -> None:
    """Do it, and say the seconds, the most MB, and how many modules there are.

    A start counts from before the process. A purge says when it is ready, and counts from when it is told to go.
    """
    contender, began = named(name), float(os.environ["BEGAN"])
    project.configure(contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
    if work == "start":
        project.application_of(contender)
    else:
        began = _told_to_go()
        contender.purge()
    seconds = time.time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "modules": len(sys.modules)}))


def _told_to_go() -> float:
    from django.db import connection

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    return time.time()


if __name__ == "__main__":
    main(*sys.argv[1:3])
