"""The audit stream: every action becomes an event in the outbox, and from there a message in RabbitMQ.

It has four packages. `record` runs in the request, `relay` in a process or a thread of its own:

    record   build the CloudEvent and write its row to the outbox, in the transaction of the action
    events   what each event says: the classes, their JSON Schemas and the AsyncAPI document
    relay    publish the outbox in order; delete what the broker confirmed, set aside what it refused
    broker   the connection to RabbitMQ; only this package and `consumer` import pika

`receivers` connects the signals of the kit to `record`. `custom_events` lets your project define events.
"""
