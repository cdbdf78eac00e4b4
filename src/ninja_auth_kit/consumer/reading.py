"""Reading events without a permanent queue: those that arrive from now on, and those that the stream still has."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pika

from ninja_auth_kit.audit.events import Event, InvalidEventError, parse
from ninja_auth_kit.consumer.connections import as_list, broker_errors, connect
from ninja_auth_kit.tls import TLS

# A stream has been read to its end when no message that was there at the start has arrived for this
# number of seconds.
QUIET = 3.0
PREFETCH = 500  # messages that the broker sends ahead
CLOCK_SKEW = timedelta(seconds=5)  # between the clocks that set the times of events


def tail(
    url: str | Sequence[str],
    pattern: str = "auth.#",
    *,
    exchange: str = "auth.events",
    pause: float = 0.5,
    timeout: float | None = None,
    tls: TLS | None = None,
) -> Iterator[tuple[str, bytes] | None]:
    """Yield the routing key and the body of each message that arrives from now on.

    After each pause without a message it yields None, so that the caller can stop.

    Args:
        url: the URL of the broker, or a list of URLs.
        pattern: a pattern of routing keys, in which `*` matches one word and `#` any number of words.
        exchange: the exchange of the events.
        pause: the length of a pause in seconds.
        timeout: the number of seconds that each host has to answer at the beginning, 15 at most.
        tls: the files of `amqps://` connections, such as a client certificate.

    Raises:
        BrokerError: the broker is not available, or becomes unavailable.
    """
    broker = connect(as_list(url), name="ninja_auth_kit tail", exchange=exchange, timeout=timeout, tls=tls)
    with _closed(broker.connection), broker_errors(broker.parameters, exchange=exchange):
        channel = broker.connection.channel()
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
    tls: TLS | None = None,
) -> Iterator[Event]:
    """Yield the events that the stream still has, in the order of the stream. It keeps events for at least a week.

    This is almost the order of their times: an event that the broker refused for a while is in the stream later. The
    broker does not remember what was read. To continue later, store the time of the last event. Messages that are not
    valid events are skipped.

    Args:
        url: the URL of the broker, or a list of URLs.
        since: the time of the first event, or how far to go back from now. The stream may have events that your store
            has forgotten (`Postgres.prune`, by default after 30 days), and would handle again.
        until: the time of the last event, by default now. The stream is read to its end in any case.
        stream: the catch-all queue of the producer.
        tls: the files of `amqps://` connections, such as a client certificate.

    Raises:
        BrokerError: the broker is not available, or the stream does not exist.
    """
    now = datetime.now(UTC)
    until = until or now
    begin = now - since if isinstance(since, timedelta) else since
    broker = connect(as_list(url), name="ninja_auth_kit replay", exchange=stream, tls=tls)
    # Closed and not cancelled: pika's cancel() would return the messages that were sent ahead,
    # which a stream does not accept.
    with _closed(broker.connection), broker_errors(broker.parameters, exchange=stream):
        channel = broker.connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        # The broker starts with a whole chunk of messages, so some may be earlier than `begin`.
        offset = {"x-stream-offset": begin}
        last_read = time.monotonic()
        for method, _, body in channel.consume(stream, arguments=offset, inactivity_timeout=QUIET):
            if method is None or body is None or time.monotonic() - last_read > QUIET:
                return
            channel.basic_ack(method.delivery_tag or 0)
            with suppress(InvalidEventError):
                event = parse(body)
                # A later event was published while this function was reading, or by a wrong clock.
                if event.time <= now + CLOCK_SKEW:
                    last_read = time.monotonic()
                if begin <= event.time <= until:
                    yield event


@contextmanager
def _closed(connection: pika.BlockingConnection) -> Iterator[None]:
    """Close a connection at the end of the block, even if it is already lost."""
    try:
        yield
    finally:
        with suppress(pika.exceptions.AMQPError):
            connection.close()
