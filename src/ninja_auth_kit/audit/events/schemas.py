"""The JSON Schema of each event, made from its class, and the AsyncAPI document of all events.

Required members stay. Later versions may add other members, and values of `reason`. A schema therefore allows members
that it does not define.
"""

from collections.abc import Mapping
from typing import Any

from ninja_auth_kit.audit.events.base import Actor, Client, Event, Session, Target, all_events, details_of

_TIME = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string", "minLength": 1}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema of the messages of an event class. It is valid in 2020-12 and in draft-07."""
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
                "description": "unique together with `source`; an event that is delivered twice has the same id",
            },
            "source": {**_TEXT, "description": "the issuer of the access tokens"},
            "type": {"const": kind.type},
            "subject": {**_TEXT, "description": "`user/<id>` if the user is known"},
            "time": {**_TIME, "description": "when the event was recorded"},
            "datacontenttype": {"const": "application/json"},
            "partitionkey": {
                **_TEXT,
                "description": "events with the same partition key arrive in the order in which they happened",
            },
            "correlationid": {**_TEXT, "description": "the `X-Request-ID` of the request"},
            "traceparent": {**_TEXT, "description": "the W3C trace context of the request"},
            "authtype": {"enum": ["user", "unauthenticated", "system"]},
            "data": _data(kind),
        },
    }


def summary_of(kind: type[Event]) -> str:
    """Return the docstring of a class as one paragraph."""
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
            "count": {"type": "integer", "minimum": 1, "description": "how many events this one represents"},
            "first_time": {**_TIME, "description": "when the first of these events was recorded"},
            "last_time": {**_TIME, "description": "when the last of these events was recorded"},
        },
    }


def _reason(kind: type[Event]) -> dict[str, Any]:
    known = "; ".join(f"{word}: {meaning}" for word, meaning in kind.reasons.items())
    return {"type": ["string", "null"], "description": f"{known}; others may be added" if known else "always null"}


def _block(block: Any) -> dict[str, Any]:
    """Return the schema of a dataclass whose members are all required."""
    from pydantic import TypeAdapter

    made = TypeAdapter(block).json_schema()
    properties = {name: _plain(value) for name, value in made.get("properties", {}).items()}
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _plain(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member without its title and default, which do not concern a reader."""
    kept = {name: value for name, value in member.items() if name not in {"title", "default", "anyOf"}}
    if "anyOf" in member:  # how pydantic writes "or null"
        kept["type"] = [choice["type"] for choice in member["anyOf"]]
    return kept


_BINDING = "0.3.0"  # of the AsyncAPI bindings for AMQP 0-9-1
CONTENT_TYPE = "application/cloudevents+json"


def asyncapi_document(*, exchange: str, version: str, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the AsyncAPI 3 document of all events, those of your project included.

    Args:
        exchange: the topic exchange of the events.
        version: the version of the kit.
        examples: a message for each CloudEvents type that has an example.
    """
    kinds = sorted(all_events(), key=lambda kind: kind.type)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Audit events of django-ninja-auth-kit",
            "version": version,
            "description": "CloudEvents 1.0 in structured JSON, delivered at least once, and in order for each "
            "`partitionkey`. De-duplicate them by `source` and `id`. Ignore members and types that you do not know.",
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
