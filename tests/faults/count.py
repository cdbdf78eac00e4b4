"""What arrived against what is true: lost, twice, out of order, and of transactions that were rolled back."""

import contextlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pika

from tests.faults.writer import ROLLED_BACK

QUIET, PATIENCE = 0.5, 5.0  # seconds without a message, when all are here and when some are not


@dataclass(frozen=True)
class Arrival:
    """One message of a refresh, as the broker handed it out."""

    event_id: str
    session: uuid.UUID
    generation: int


@dataclass
class Count:
    """The arrivals of one case, held against the sessions in the database.

    Attributes:
        truth: to which generation each session has got: its events are those from 1 up to there.
        received: how many of them arrived, each counted once.
        duplicates: how many arrivals repeat one by its event id.
        disorder: how many first arrivals came after a younger event of the same session.
        rolled_back: how many arrivals are of a transaction that was rolled back.
        phantoms: how many events arrived that no session accounts for, or under a second id.
    """

    truth: Mapping[uuid.UUID, int]
    received: int = 0
    duplicates: int = 0
    disorder: int = 0
    rolled_back: int = 0
    phantoms: int = 0
    _ids: set[str] = field(default_factory=set)
    _seen: set[tuple[uuid.UUID, int]] = field(default_factory=set)
    _last: dict[uuid.UUID, int] = field(default_factory=dict)

    @property
    def expected(self) -> int:
        """Return how many events there must be."""
        return sum(self.truth.values())

    @property
    def lost(self) -> int:
        """Return how many did not arrive."""
        return self.expected - self.received

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """Count arrivals, in their order."""
        for arrival in arrivals:
            self._take(arrival)

    def _take(self, arrival: Arrival) -> None:
        session, generation = arrival.session, arrival.generation
        if arrival.event_id in self._ids:
            self.duplicates += 1
        elif session == ROLLED_BACK:
            self.rolled_back += 1
        elif (session, generation) in self._seen or not 0 < generation <= self.truth.get(session, 0):
            self.phantoms += 1
        else:
            self.received += 1
            self.disorder += generation < self._last.get(session, 0)
            self._last[session] = max(generation, self._last.get(session, 0))
        self._ids.add(arrival.event_id)
        self._seen.add((session, generation))


class Inbox:
    """A queue for every event of a case, read when all is over: in the order in which the relay has published."""

    def __init__(self, port: int, exchange: str, *, arguments: dict[str, object] | None = None) -> None:
        self.port, self.exchange, self.vhost = port, exchange, "/"
        self.queue = exchange.removesuffix(".events") + ".inbox"
        with self._channel() as channel:
            channel.exchange_declare(exchange, "topic", durable=True)
            quorum = {"x-queue-type": "quorum", **(arguments or {})}
            channel.queue_declare(self.queue, durable=True, arguments=quorum)
        self.bind()

    def bind(self) -> None:
        """Let events come in."""
        with self._channel() as channel:
            channel.exchange_declare(self.exchange, "topic", durable=True)
            channel.queue_bind(self.queue, self.exchange, "#")

    def unbind(self) -> None:
        """Let no more events come in."""
        with self._channel() as channel:
            channel.queue_unbind(self.queue, self.exchange, "#")

    def delete_exchange(self) -> None:
        """Delete the exchange, and with it its bindings; what is in the queue stays."""
        with self._channel() as channel:
            channel.exchange_delete(self.exchange)

    def read(self, count: Count, *, queue: str | None = None, offset: dict[str, object] | None = None) -> None:
        """Take everything out, and a little longer than that, so that a duplicate is not missed."""
        with self._channel() as channel:
            channel.basic_qos(prefetch_count=500)
            quiet = 0.0
            messages = channel.consume(
                queue or self.queue, auto_ack=offset is None, arguments=offset, inactivity_timeout=QUIET
            )
            for method, _properties, body in messages:
                if method is not None:
                    quiet = 0.0
                    count.take(arrivals(body))
                    if offset is not None:
                        channel.basic_ack(method.delivery_tag)
                    continue
                quiet += QUIET
                if quiet >= (PATIENCE if count.lost else QUIET):
                    return

    def read_stream(self, count: Count) -> None:
        """Read the catch-all stream instead, from its beginning."""
        stream = self.exchange.removesuffix(".events") + ".audit"
        self.read(count, queue=stream, offset={"x-stream-offset": "first"})

    def remove(self) -> None:
        """Leave nothing behind for the next case."""
        with contextlib.suppress(pika.exceptions.AMQPError), self._channel() as channel:
            channel.queue_delete(self.queue)
            channel.queue_delete(self.exchange.removesuffix(".events") + ".audit")
            channel.exchange_delete(self.exchange)

    @contextlib.contextmanager
    def _channel(self):  # noqa: ANN202
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, self.vhost))
        try:
            yield connection.channel()
        finally:
            # Not channel.cancel(): it would return prefetched messages, and a stream takes none back.
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()


def arrivals(body: bytes) -> list[Arrival]:
    """Return the refresh that a message is about; none where it is about something else."""
    event = json.loads(body)
    details = event["data"]["details"]
    if event["type"] != "ninja-auth-kit.session.refreshed.v1" or not details["rotated"]:
        return []  # a login, or the same successor once more
    return [Arrival(event["id"], uuid.UUID(event["data"]["session"]["id"]), details["generation"])]
