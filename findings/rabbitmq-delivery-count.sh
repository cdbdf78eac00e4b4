#!/usr/bin/env bash
# RabbitMQ 3.10.8, 4.0.5 and 4.3.6 with pika 1.4.4: what a quorum queue counts as a delivery.
#
# Most people expect that x-delivery-count tells how often a consumer failed, that basic.nack and basic.reject
# with requeue count the same, and that looking at a message with basic.get and requeue changes nothing.
#
# Seen:
# - Messages that were only sent ahead (prefetch) count as delivered when their channel is closed, on all versions.
# - RabbitMQ 4.3 counts basic.reject and a closed channel, but not basic.nack. 3.10 and 4.0 count all three.
# - A queue without arguments deletes a message at the 21st look since RabbitMQ 4, so a queue of dead letters empties.
#   RabbitMQ 3.10 has no limit, and takes a limit of -1, which means "none" since 4.0, as a limit: it deletes at once.
# - A message that is moved with its headers has the old x-delivery-count at its first delivery on 4.x.
#
# Needs a broker: AMQP_URL, by default the one on this machine. Exits 0 while this is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pika==1.4.4

AMQP_URL=${AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/%2F} "$folder/venv/bin/python" - <<'PYTHON'
import os
import sys
import time
import uuid

import pika

parameters = pika.URLParameters(os.environ["AMQP_URL"])
connection = pika.BlockingConnection(parameters)
version = connection._impl.server_properties["version"]
if isinstance(version, bytes):
    version = version.decode()
major = tuple(int(part) for part in version.split(".")[:2])
channel = connection.channel()
queues = []
wrong = []


def declare(**arguments):
    queues.append(f"finding-{uuid.uuid4().hex}")
    channel.queue_declare(queues[-1], durable=True, arguments={"x-queue-type": "quorum", **arguments})
    return queues[-1]


def publish(queue, properties=None):
    channel.basic_publish("", queue, b"x", properties or pika.BasicProperties(delivery_mode=2))


def get(other, queue):
    """Return a message, or None if there is still none after a second."""
    for _ in range(20):
        method, properties, _ = other.basic_get(queue)
        if method is not None:
            return method, properties
        time.sleep(0.05)
    return None


def count(properties):
    return int((properties.headers or {}).get("x-delivery-count", 0))


def look(queue, times):
    """Look at the only message of a queue, and return how many looks it survived."""
    for seen in range(times):
        other = connection.channel()
        found = get(other, queue)
        if found is None:
            return seen
        other.basic_reject(found[0].delivery_tag, requeue=True)
        other.close()
    return times


def expect(what, seen, expected):
    print(f"RabbitMQ {version}: {what}: {seen}")
    if seen != expected:
        wrong.append(f"{what}: expected {expected}, got {seen}")


try:
    limit = {"x-delivery-limit": 1_000_000_000}
    counts = {}
    for how in ("reject", "nack", "close"):
        queue = declare(**limit)
        publish(queue)
        other = connection.channel()
        method, _ = get(other, queue)
        if how == "reject":
            other.basic_reject(method.delivery_tag, requeue=True)
        elif how == "nack":
            other.basic_nack(method.delivery_tag, requeue=True)
        else:
            other.close()
        other = connection.channel() if how == "close" else other
        counts[how] = count(get(other, queue)[1])
    expect("counted for reject, nack, close", list(counts.values()), [1, 1 if major < (4, 3) else 0, 1])

    queue = declare(**limit)
    for _ in range(5):
        publish(queue)
    ahead = pika.BlockingConnection(parameters)
    other = ahead.channel()
    received = []
    other.basic_qos(prefetch_count=20)
    other.basic_consume(queue, lambda *delivery: received.append(delivery))
    while len(received) < 5:
        ahead.process_data_events(time_limit=0.1)
    ahead.close()
    other = connection.channel()
    expect("counted for five that were sent ahead", [count(get(other, queue)[1]) for _ in range(5)], [1] * 5)
    other.close()

    for arguments, survived in (
        ({}, 40 if major < (4, 0) else 21),
        ({"x-delivery-limit": -1}, 1 if major < (4, 0) else 40),
        (limit, 40),
    ):
        queue = declare(**arguments)
        publish(queue)
        expect(f"looks survived with {arguments}", look(queue, 40), survived)

    source, target = declare(**limit), declare(**limit)
    publish(source)
    look(source, 3)
    method, properties = get(channel, source)
    publish(target, properties)
    method, moved = get(channel, target)
    expect("moved: redelivered, count", [method.redelivered, count(moved)], [False, 0 if major < (4, 0) else 3])
finally:
    for queue in queues:
        connection.channel().queue_delete(queue)
    connection.close()
if wrong:
    sys.exit("This is no longer so: " + "; ".join(wrong))
PYTHON
