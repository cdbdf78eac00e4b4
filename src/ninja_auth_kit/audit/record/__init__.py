"""Recording an event in the request: the CloudEvent, its row in the outbox, and counting floods."""
