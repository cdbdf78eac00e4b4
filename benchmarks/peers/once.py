"""Do one task for a contender in a new process: start like a web worker, or purge like cron."""

import json
import os
import resource
import sys
import time

from benchmarks.peers import project
from benchmarks.peers.contenders import named


def main(name: str, work: str) -> None:
    """Do the task and print its seconds, its peak memory in MB, and the number of loaded modules.

    A start is measured from before the process was created. A purge prints "ready", and is measured
    from the line that it then reads.
    """
    contender, began = named(name), float(os.environ["BEGAN"])
    project.configure(contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
    if work == "start":
        project.application_of(contender)
    else:
        began = _wait_for_start()
        contender.purge()
    seconds = time.time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "modules": len(sys.modules)}))


def _wait_for_start() -> float:
    from django.db import connection

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    return time.time()


if __name__ == "__main__":
    main(*sys.argv[1:3])
