"""The audit stream: from a signal to an outbox row in the same transaction, and from there to RabbitMQ.

    signals ──> receivers ──> events (the message) ──> outbox (the row)
                                                          │
                               rabbitmq (pika) <── relay ─┘

`receivers`, `events` and `outbox` run in requests; `relay` and `rabbitmq` in a process or a thread of their own.
"""
