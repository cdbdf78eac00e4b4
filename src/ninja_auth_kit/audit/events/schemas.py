"""The JSON Schema of each event, made from its class, and the AsyncAPI document of them all.

Closed is what is there, open what may come: members that are required stay, others may be added, and so may words of
`reason`. A schema therefore allows what it does not know.
"""

from collections.abc import Mapping
from typing import Any

from ninja_auth_kit.audit.events.base import Actor, Client, Event, Session, Target, all_events, details_of

_TIME = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string", "minLength": 1}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12, and draft-07 as well) of the messages of a kind of event."""
    return {
        "title": kind.__name__,
        "description": summary_of(kind),
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "partitionkey", "authtype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "unique with `source`; the same if it comes twice",
            },
            "source": {**_TEXT, "description": "the issuer of the access tokens"},
            "type": {"const": kind.type},
            "subject": {**_TEXT, "description": "`user/<id>`, where a user is known"},
            "time": {**_TIME, "description": "when it was recorded"},
            "datacontenttype": {"const": "application/json"},
            "partitionkey": {**_TEXT, "description": "events with the same one arrive in their order"},
            "correlationid": {**_TEXT, "description": "the X-Request-ID of the request"},
            "traceparent": {**_TEXT, "description": "the W3C trace context of the request"},
            "authtype": {"enum": ["user", "unauthenticated", "system"]},
            "data": _data(kind),
        },
    }


def summary_of(kind: type[Event]) -> str:
    """Return when the event happens, in one paragraph."""
    return " ".join((kind.__doc__ or "").split())


def _data(kind: type[Event]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["outcome", "reason", "actor", "target", "session", "client", "details"],
        "properties": {
            "outcome": {"const": kind.outcome_word},
            "reason": _reason(kind),
            "actor": _block(Actor),
            "target": _block(Target),
            "session": _block(Session),
            "client": _block(Client),
            "details": _block(details_of(kind)),
            "count": {"type": "integer", "minimum": 1, "description": "how many events this one stands for"},
            "first_time": {**_TIME, "description": "of the first of them"},
            "last_time": {**_TIME, "description": "of the last of them"},
        },
    }


def _reason(kind: type[Event]) -> dict[str, Any]:
    known = "; ".join(f"{word}: {meaning}" for word, meaning in kind.reasons.items())
    return {"type": ["string", "null"], "description": f"{known}; others may come" if known else "none"}


def _block(block: Any) -> dict[str, Any]:
    """Return the schema of a dataclass in which every member is always there."""
    from pydantic import TypeAdapter

    made = TypeAdapter(block).json_schema()
    properties = {name: _plain(value) for name, value in made.get("properties", {}).items()}
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _plain(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member without titles and defaults, which are for those who write."""
    kept = {name: value for name, value in member.items() if name not in {"title", "default", "anyOf"}}
    if "anyOf" in member:  # pydantic's way to say "or null"
        kept["type"] = [choice["type"] for choice in member["anyOf"]]
    return kept


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
