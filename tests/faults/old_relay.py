"""A relay of another version, or a third-party worker.

Run it as `python -m tests.faults.old_relay <database URL> <port> <exchange> [--shards]`. It shares
no code with the kit: it has its own SQL and waits for a confirm per message.
With --shards it first takes the locks of the shards, as every version of the kit does.
Without --shards it claims only by SKIP LOCKED, as a third-party worker might.
"""

import signal
import sys
import threading

import pika
import psycopg

_LOCK = "SELECT shard FROM generate_series(0, 15) AS shard WHERE pg_try_advisory_xact_lock(1312901937, shard)"
_CLAIM = """
SELECT id, event_id, routing_key, payload FROM ninja_auth_kit_auditoutbox WHERE shard = ANY(%s)
ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
"""
_DELETE = "DELETE FROM ninja_auth_kit_auditoutbox WHERE id = ANY(%s)"


def main(url: str, port: int, exchange: str, *, shards: bool) -> int:
    """Publish until SIGTERM and return how many events were published."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = broker.channel()
    channel.confirm_delivery()
    published = 0
    with psycopg.connect(url.replace("postgres:", "postgresql:", 1), autocommit=True) as database:
        while not stop.is_set():
            with database.transaction():
                mine = [shard for (shard,) in database.execute(_LOCK)] if shards else list(range(16))
                rows = database.execute(_CLAIM, [mine]).fetchall()
                for _id, event_id, key, payload in rows:
                    properties = pika.BasicProperties(message_id=str(event_id), delivery_mode=2)
                    channel.basic_publish(exchange, key, payload.encode(), properties, mandatory=True)
                database.execute(_DELETE, [[row[0] for row in rows]])
            published += len(rows)
            broker.process_data_events(0 if rows else 0.05)
    broker.close()
    return published


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], shards="--shards" in sys.argv))
