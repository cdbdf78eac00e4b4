"""What a consumer owns at the broker: its queue, and where what it cannot handle goes."""

from collections.abc import Sequence

from pika.adapters.blocking_connection import BlockingChannel

DELIVERY_LIMIT = 5


def dead_letters(queue: str) -> str:
    """Return the name of the queue, and of the exchange before it, of what could not be handled."""
    return f"{queue}.dead"


def declare(
    channel: BlockingChannel, *, queue: str, exchange: str, bindings: Sequence[str], single_active: bool
) -> None:
    """Declare the queue with its dead letters, and bind it; what is there already stays as it is.

    The exchange is the producer's, so it is only looked for. A quorum queue, for it counts deliveries: RabbitMQ 4
    drops what it has delivered 20 times, unless there is somewhere for it to go.
    """
    channel.exchange_declare(exchange, passive=True)
    dead = dead_letters(queue)
    channel.exchange_declare(dead, "fanout", durable=True)
    channel.queue_declare(dead, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(dead, dead)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead,
        "x-single-active-consumer": single_active,
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    for key in bindings:
        channel.queue_bind(queue, exchange, key)
