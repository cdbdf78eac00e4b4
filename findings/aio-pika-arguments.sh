#!/bin/bash
# aio-pika 10.2.1, a robust connection, and a dictionary of arguments that is changed after declare_queue.
#
# Expected by most people: declare_queue sends the arguments and is done with them; a second queue can be declared with
# the same dictionary and one more member.
# Seen: the robust channel keeps the caller's dictionary and declares the first queue with the changed arguments when it
# connects again. The broker refuses this (406 PRECONDITION_FAILED) at each attempt, so that the connection never
# recovers, although everything worked until it was lost.
set -euo pipefail

export AMQP_URL=${AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet aio-pika==10.2.1 2>/dev/null

cat >"$folder/check.py" <<'PY'
import asyncio
import logging
import os
import sys
import uuid

import aio_pika

log: list[str] = []


class Keep(logging.Handler):
    def emit(self, record):
        log.append(record.getMessage())


async def main():
    logging.getLogger("aio_pika").addHandler(Keep())
    name = f"finding-{uuid.uuid4().hex}"
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"], reconnect_interval=0.5)
    plain = await aio_pika.connect(os.environ["AMQP_URL"])
    try:
        channel = await connection.channel()
        arguments = {"x-expires": 600_000}
        await channel.declare_queue(f"{name}.first", arguments=arguments)
        arguments["x-max-length"] = 10
        await channel.declare_queue(f"{name}.second", arguments=arguments)

        await connection.transport.connection.close(asyncio.CancelledError())  # as a lost network would
        for _ in range(50):
            await asyncio.sleep(0.1)
            if sum("PRECONDITION_FAILED" in line for line in log) >= 2:
                print("It does not connect again:", next(line for line in log if "PRECONDITION" in line)[-160:])
                return 0
        print("The behaviour changed: it connects again.", log[-3:], file=sys.stderr)
        return 1
    finally:
        clean = await plain.channel()
        for queue in ("first", "second"):
            await clean.queue_delete(f"{name}.{queue}")
        await plain.close()


code = asyncio.run(asyncio.wait_for(main(), 60))
sys.stdout.flush()
os._exit(code)
PY
timeout 90 "$folder/venv/bin/python" "$folder/check.py"
