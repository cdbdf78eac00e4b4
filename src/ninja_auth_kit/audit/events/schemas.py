"""The JSON Schema of each event, made from its class, and the AsyncAPI document of all events.

Required members stay. Later versions may add other members, and values of `reason`. A schema therefore allows members
that it does not define.

A schema with a title becomes one definition of the AsyncAPI document, which events refer to. Code generators make one
class of each definition, and name it after the title.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ninja_auth_kit.audit.events.base import (
    CONTENT_TYPE,
    PREFIX,
    Actor,
    Client,
    Event,
    Session,
    Target,
    all_events,
    details_of,
)

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
            "authtype": {"title": "AuthType", "type": "string", "enum": ["user", "unauthenticated", "system"]},
            "data": _data(kind),
        },
    }


def summary_of(kind: type[Event]) -> str:
    """Return the docstring of a class as one paragraph."""
    return " ".join((kind.__doc__ or "").split())


def _data(kind: type[Event]) -> dict[str, Any]:
    return {
        "title": f"{kind.__name__}Data",
        "type": "object",
        "required": ["outcome", "reason", "actor", "target", "session", "client", "details"],
        "properties": {
            "outcome": {"const": kind.outcome_word},
            "reason": _reason(kind),
            "actor": _block(Actor),
            "target": _block(Target),
            "session": _block(Session),
            "client": _block(Client),
            "details": {**_block(details_of(kind)), "title": _details_title(kind)},
            "count": {"type": "integer", "minimum": 1, "description": "how many events this one represents"},
            "first_time": {**_TIME, "description": "when the first of these events was recorded"},
            "last_time": {**_TIME, "description": "when the last of these events was recorded"},
        },
    }


def _reason(kind: type[Event]) -> dict[str, Any]:
    known = "; ".join(f"{word}: {meaning}" for word, meaning in kind.reasons.items())
    return {"type": ["string", "null"], "description": f"{known}; others may be added" if known else "always null"}


def _details_title(kind: type[Event]) -> str:
    """Return the class name of the details. Those of a custom event have the name of the event."""
    name: str = details_of(kind).__name__
    return f"{name}Details" if name == kind.__name__ else name


def _block(block: Any) -> dict[str, Any]:
    """Return the schema of a dataclass whose members are all required."""
    from pydantic import TypeAdapter

    made = TypeAdapter(block).json_schema()
    properties = {name: _plain(value) for name, value in made.get("properties", {}).items()}
    for name, value in properties.items():
        if "enum" in value:
            value["title"] = block.__name__.removesuffix("Details") + _class_name(name)
    return {
        "title": block.__name__,
        "description": summary_of(block),
        "type": "object",
        "required": sorted(properties),
        "properties": properties,
    }


def _class_name(words: str) -> str:
    """Return `words`, such as a member or a CloudEvents type, as a name of a class."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", words))


def _plain(member: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a member without its title and default, which do not concern a reader."""
    kept = {name: value for name, value in member.items() if name not in {"title", "default", "anyOf"}}
    if "anyOf" in member:  # how pydantic writes "or null"
        kept["type"] = [choice["type"] for choice in member["anyOf"]]
    return kept


_BINDING = "0.3.0"  # of the AsyncAPI bindings for AMQP 0-9-1


def asyncapi_document(
    *,
    exchange: str,
    version: str,
    examples: Mapping[str, Any] | None = None,
    kinds: Iterable[type[Event]] | None = None,
) -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the events.

    Args:
        exchange: the topic exchange of the events.
        version: the version of the kit.
        examples: a message for each CloudEvents type that has an example.
        kinds: the event classes. By default, those of the kit and of your project.
    """
    keyed = _keys(all_events() if kinds is None else kinds)
    schemas: dict[str, Any] = {}
    messages = {key: _message(kind, schemas, (examples or {}).get(kind.type)) for key, kind in keyed.items()}
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
        "channels": {key: _channel(key, kind, exchange) for key, kind in keyed.items()},
        "operations": {f"send.{key}": _operation(key) for key in keyed},
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _keys(kinds: Iterable[type[Event]]) -> dict[str, type[Event]]:
    """Return the event classes by their names, or by their types if another class has the name.

    The events of the kit come first, so that those of your project do not change how they are named.
    """
    keyed: dict[str, type[Event]] = {}
    for kind in sorted(kinds, key=lambda kind: (not kind.type.startswith(f"{PREFIX}."), kind.type)):
        keyed[kind.type if kind.name in keyed else kind.name] = kind
    return keyed


def _channel(key: str, kind: type[Event], exchange: str) -> dict[str, Any]:
    where = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": kind.routing_key,
        "description": summary_of(kind),
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": where, "bindingVersion": _BINDING}},
    }


def _operation(key: str) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{key}"},
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, "bindingVersion": _BINDING}},
    }


def _message(kind: type[Event], schemas: dict[str, Any], example: Any) -> dict[str, Any]:
    # Without `schemaFormat`, a payload is a schema of AsyncAPI, which is a superset of JSON Schema draft-07. Code
    # generators lose the required members of a schema that is wrapped in `{schemaFormat, schema}`.
    made: dict[str, Any] = {
        "name": kind.type,
        "title": kind.__name__,
        "summary": summary_of(kind),
        "contentType": CONTENT_TYPE,
        "payload": _referred(schema_of(kind), schemas, kind),
    }
    return {**made, "examples": [{"payload": example}]} if example else made


def _referred(schema: dict[str, Any], schemas: dict[str, Any], kind: type[Event]) -> dict[str, Any]:
    """Add each schema that has a title to `schemas`, and return a reference to it. Return other schemas unchanged."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: _referred(member, schemas, kind) for name, member in schema["properties"].items()}
    if "title" not in made:
        return made
    if schemas.get(made["title"], made) != made:  # a class of the same name in another module, or another version
        made["title"] = _class_name(kind.type) + made["title"].removeprefix(kind.__name__)
    schemas[made["title"]] = made
    return {"$ref": f"#/components/schemas/{made['title']}"}
