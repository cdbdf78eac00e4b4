"""Examples of request bodies for OpenAPI, made from their schemas."""

from typing import Any

from pydantic import BaseModel

JsonSchema = dict[str, Any]

# A value for each format of a text, and for each other type.
_TEXTS = {
    "date": "2001-12-31",
    "date-time": "2001-12-31T12:00:00Z",
    "email": "ada@example.com",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "9f0c5f4e-9a3c-4f0e-8f57-0f6b8a3c2d1e",
}
_VALUES = {"array": [], "boolean": True, "integer": 1, "null": None, "number": 1.5}


def example_of(body: type[BaseModel]) -> dict[str, Any]:
    """Return an example of a request body.

    It has each field that has an example, and each required field. A required field without an example has a value of
    its type, which a validator of your project may still reject: give such a field `examples`.
    """
    schema = body.model_json_schema()
    definitions = schema.get("$defs", {})
    return _example_of_object(_resolved(schema, definitions), definitions)


def _example_of_object(schema: JsonSchema, definitions: JsonSchema) -> dict[str, Any]:
    required = schema.get("required", ())
    values = {
        name: _example_of_value(member, definitions)
        for name, member in schema.get("properties", {}).items()
        if name in required or _first_example(member) is not None
    }
    return {name: value for name, value in values.items() if name in required or value is not None}


def _example_of_value(member: JsonSchema, definitions: JsonSchema) -> Any:
    member = _resolved(member, definitions)
    example = _first_example(member)
    if example is not None:
        return example
    kind = member.get("type")
    if kind == "object":
        return _example_of_object(member, definitions)
    if kind == "string":
        text = _TEXTS.get(member.get("format", ""), "Ada").ljust(member.get("minLength", 0), "a")
        return text[: member.get("maxLength")]
    return member.get("minimum", _VALUES.get(kind or ""))


def _first_example(member: JsonSchema) -> Any:
    """Return the first example, the only or the first possible value, or the default, or None."""
    candidates = [*member.get("examples", ()), *member.get("enum", ()), member.get("const"), member.get("default")]
    return next((one for one in candidates if one is not None), None)


def _resolved(member: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    """Return a schema without a reference at its top: of several alternatives, the first that is not null."""
    options = [one for one in member.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        return {**_resolved(options[0], definitions), **{key: member[key] for key in member if key != "anyOf"}}
    if "$ref" in member:
        return _resolved(definitions[member["$ref"].rpartition("/")[2]], definitions)
    return member
