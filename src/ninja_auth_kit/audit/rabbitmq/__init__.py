"""RabbitMQ by pika: one connection in one I/O thread, publisher confirms per batch.

pika's `BlockingConnection` waits for each confirm, and serves heartbeats only while it is called. Here its event loop
runs in a thread of its own: heartbeats flow whatever the caller does, and a batch is confirmed as one.
"""

from ninja_auth_kit.audit.rabbitmq.connection import catch_all_queue
from ninja_auth_kit.audit.rabbitmq.messages import CONTENT_TYPE
from ninja_auth_kit.audit.rabbitmq.publisher import RabbitMQ

__all__ = ["CONTENT_TYPE", "RabbitMQ", "catch_all_queue"]
