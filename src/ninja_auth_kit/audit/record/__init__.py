"""Recording an event, in the request: its CloudEvent, its row in the outbox, and counting floods."""
