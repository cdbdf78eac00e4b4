"""The AsyncAPI 3 document of the stream: a channel for each event, with its key, its schema and an example."""

from collections.abc import Mapping
from typing import Any

from ninja_auth_kit.audit.events.envelope import Event
from ninja_auth_kit.audit.events.registry import all_events
from ninja_auth_kit.audit.events.schemas import schema_of, summary_of

_BINDING = "0.3.0"  # of AMQP 0-9-1
CONTENT_TYPE = "application/cloudevents+json"


def document(*, exchange: str, version: str, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the document.

    Args:
        exchange: the topic exchange of the events.
        version: of the kit.
        examples: a message for each CloudEvents type, where there is one.
    """
    kinds = sorted(all_events(), key=lambda kind: kind.type)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Audit events of django-ninja-auth-kit",
            "version": version,
            "description": "CloudEvents 1.0 in structured JSON, at least once, in the order of each partitionkey. "
            "De-duplicate on source and id; ignore members and types that you do not know.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {kind.name: _channel(kind, exchange) for kind in kinds},
        "operations": {f"send.{kind.name}": _operation(kind) for kind in kinds},
        "components": {"messages": {kind.name: _message(kind, (examples or {}).get(kind.type)) for kind in kinds}},
    }


def _channel(kind: type[Event], exchange: str) -> dict[str, Any]:
    where = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": kind.routing_key,
        "description": summary_of(kind),
        "messages": {kind.name: {"$ref": f"#/components/messages/{kind.name}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": where, "bindingVersion": _BINDING}},
    }


def _operation(kind: type[Event]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{kind.name}"},
        "messages": [{"$ref": f"#/channels/{kind.name}/messages/{kind.name}"}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": _BINDING}},
    }


def _message(kind: type[Event], example: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": kind.type,
        "title": kind.__name__,
        "summary": summary_of(kind),
        "contentType": CONTENT_TYPE,
        "payload": {"schemaFormat": "application/schema+json;version=draft-07", "schema": schema_of(kind)},
    }
    return {**made, "examples": [{"payload": example}]} if example else made
