"""A consumer as a service runs it: `python -m tests.faults.consuming URL QUEUE EXCHANGE CONNINFO SECONDS`.

It prints the number of each event when its handler is called, and stores it when the handler has taken its time.
"""

import logging
import os
import signal
import sys
import time
from typing import Any

from ninja_auth_kit.audit.events import LoginFailed
from ninja_auth_kit.consumer import Consumer, Postgres

POISON = "poison"  # the user agent of an event that ends the process


def main() -> None:
    """Consume until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    url, queue, exchange, conninfo, seconds = sys.argv[1:]
    consumer: Consumer[Any] = Consumer(
        url, queue=queue, exchange=exchange, store=Postgres(conninfo), pauses=[0.1, 0.1, 0.1]
    )

    @consumer.on(LoginFailed)
    def work(event: LoginFailed, db: Any) -> None:
        text = event.client.user_agent or ""
        print(f"called for {text}", flush=True)
        if text == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(seconds))
        db.execute("INSERT INTO effect (number) VALUES (%s)", (text.rpartition(" ")[2],))

    consumer.run()


if __name__ == "__main__":
    main()
