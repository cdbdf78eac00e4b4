"""Reading without a queue of one's own to keep: what arrives from now on, and what the stream still has."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pika

from ninja_auth_kit.audit.events import Event, InvalidEventError, parse
from ninja_auth_kit.consumer.connections import connect, listed, told

QUIET = 3.0  # seconds without a message that was there before us, after which a stream has been read to its end
AHEAD = 500
SKEW = timedelta(seconds=5)  # of the clocks that give events their times


def tail(
    url: str | Sequence[str],
    pattern: str = "auth.#",
    *,
    exchange: str = "auth.events",
    pause: float = 0.5,
    timeout: float | None = None,
) -> Iterator[tuple[str, bytes] | None]:
    """Yield routing key and body of each message that arrives from now on, and None after each pause without one.

    Args:
        url: where the broker is, or a list of such.
        pattern: which routing keys: `*` is a word, `#` any number of them.
        exchange: the exchange of the events.
        pause: in seconds.
        timeout: seconds that each host has to answer at the beginning, 15 at most.

    Raises:
        BrokerError: the broker is away, or goes away.
    """
    link = connect(listed(url), name="ninja_auth_kit tail", exchange=exchange, timeout=timeout)
    with _closed(link.connection), told(link.parameters, exchange=exchange):
        channel = link.connection.channel()
        channel.exchange_declare(exchange, passive=True)
        queue = str(channel.queue_declare("", exclusive=True).method.queue)
        channel.queue_bind(queue, exchange, pattern)
        for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=pause):
            yield None if method is None or body is None else (str(method.routing_key), body)


def replay(
    url: str | Sequence[str],
    *,
    since: timedelta | datetime = timedelta(days=7),
    until: datetime | None = None,
    stream: str = "auth.audit",
) -> Iterator[Event]:
    """Yield the events that the stream still has, in its order; it keeps them for a week.

    That is nearly the order of their times: what the broker refused for a while comes late. The broker remembers
    nothing of the reading: whoever wants to go on later notes the time of the last event. What is no event is skipped.

    Args:
        url: where the broker is, or a list of such.
        since: from when on, or for how long until now; the broker begins up to a chunk of messages earlier.
        until: the end, by default now; the stream is read to its end all the same.
        stream: the catch-all queue of the producer.

    Raises:
        BrokerError: the broker or the stream is not there.
    """
    now = datetime.now(UTC)
    until = until or now
    begin = now - since if isinstance(since, timedelta) else since
    link = connect(listed(url), name="ninja_auth_kit replay", exchange=stream)
    # Not cancelled but closed: pika would give back what was sent ahead, and a stream takes nothing back.
    with _closed(link.connection), told(link.parameters, exchange=stream):
        channel = link.connection.channel()
        channel.basic_qos(prefetch_count=AHEAD)
        offset = {"x-stream-offset": begin}
        heard = time.monotonic()
        for method, _, body in channel.consume(stream, arguments=offset, inactivity_timeout=QUIET):
            if method is None or body is None or time.monotonic() - heard > QUIET:
                return
            channel.basic_ack(method.delivery_tag or 0)
            with suppress(InvalidEventError):
                event = parse(body)
                if event.time <= now + SKEW:  # otherwise it has come while we read, or from a clock that is wrong
                    heard = time.monotonic()
                if begin <= event.time <= until:
                    yield event


@contextmanager
def _closed(connection: pika.BlockingConnection) -> Iterator[None]:
    """Close a connection in the end, and say nothing if it is gone."""
    try:
        yield
    finally:
        with suppress(pika.exceptions.AMQPError):
            connection.close()
