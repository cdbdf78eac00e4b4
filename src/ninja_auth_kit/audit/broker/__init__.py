"""RabbitMQ by pika: one connection in one I/O thread, publisher confirms per batch."""
