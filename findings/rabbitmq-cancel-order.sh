#!/usr/bin/env bash
# RabbitMQ 3.10.8, 4.0.5 and 4.3.6 with pika 1.4.4: an orderly stop of a single active consumer changes the order, a crash does not.
#
# Most people expect that a queue with x-single-active-consumer keeps the order when one consumer hands over to the
# next, above all when it stops in good order: basic.cancel, then the channel is closed.
#
# Seen: basic.cancel activates the next consumer while the messages that were sent ahead to the first (prefetch) are
# still its own, so the next one receives later messages first. pika always cancels when a channel or a connection is
# closed. If the first consumer's socket is cut instead, the order is kept.
#
# Needs a broker: AMQP_URL, by default the one on this machine. Exits 0 while this is so.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pika==1.4.4

AMQP_URL=${AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/%2F} "$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import os
import socket
import sys
import time
import uuid

import pika

parameters = pika.URLParameters(os.environ["AMQP_URL"])
admin = pika.BlockingConnection(parameters)
version = admin._impl.server_properties["version"]
if isinstance(version, bytes):
    version = version.decode()
PREFETCH, MESSAGES = 10, 40


def consumer(queue):
    """Return a channel on its own connection, and the list of the numbers that it receives and does not answer."""
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    received = []
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume(queue, lambda *delivery: received.append(int(delivery[3])))
    return channel, received


def handed_over(stop):
    """Return the first number that the second consumer receives when the first one stops."""
    queue = f"finding-{uuid.uuid4().hex}"
    channel = admin.channel()
    arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    try:
        (first, got), (second, then) = consumer(queue), consumer(queue)
        for number in range(MESSAGES):
            channel.basic_publish("", queue, str(number).encode(), pika.BasicProperties(delivery_mode=2))
        while len(got) < PREFETCH:
            first.connection.process_data_events(time_limit=0.1)
        stop(first)
        while not then:
            second.connection.process_data_events(time_limit=0.1)
        second.connection.close()
        return then[0]
    finally:
        channel.queue_delete(queue)


def cut(channel):
    channel.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(pika.exceptions.AMQPError):
        channel.connection.process_data_events(time_limit=0.5)


def cancel_and_close(channel):
    channel.basic_cancel(channel.consumer_tags[0])
    time.sleep(0.5)
    channel.connection.close()


cut_first, stopped_first = handed_over(cut), handed_over(cancel_and_close)
admin.close()
print(f"RabbitMQ {version}: first message after a cut: {cut_first}; after a cancel and a close: {stopped_first}")
expected = (0, PREFETCH)
if (cut_first, stopped_first) != expected:
    sys.exit(f"This is no longer so: expected {expected}.")
PYTHON
