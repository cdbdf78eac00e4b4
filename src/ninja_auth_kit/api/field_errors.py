"""`Body`: what every request body derives from, so that what is wrong with one is told without repeating it."""

from collections.abc import Iterable
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from ninja_auth_kit.exceptions import FieldError, InvalidInputError

_MESSAGES: dict[str, tuple[str, str | Promise]] = {
    "missing": ("required", _("This field is required.")),
    "extra_forbidden": ("unknown_field", _("There is a field that does not belong here.")),
    "string_too_long": ("too_long", _("This value is too long.")),
    "too_long": ("too_long", _("This value is too long.")),
    "control_character": ("control_character", _("This value contains a control character.")),
    "one_identifier": ("one_identifier", _("Send exactly one of username and email.")),
}
_OTHER = ("invalid", _("This value is not valid."))


def _with_field_errors(data: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidInputError(*_field_errors(faults)) from None


def _field_errors(faults: list[ErrorDetails]) -> Iterable[FieldError]:
    """Return the errors, each once: thousands of unknown fields would make an answer of many times the request."""
    return {(one.field, one.code): one for one in map(_field_error, faults)}.values()


def _field_error(fault: ErrorDetails) -> FieldError:
    code, message = _MESSAGES.get(fault["type"], _OTHER)
    # The name of an unknown field is input, as are the keys of an object in a field, and input is not repeated.
    field = "" if code == "unknown_field" else str(next(iter(fault["loc"]), ""))
    return FieldError(field, code, message)


class Body(BaseModel):
    """A request body: no fields but its own, and errors that never repeat what was sent."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the translation of errors around everything, the validators of subclasses among it."""
        inner: Any = {**handler(source)}  # a copy, as pydantic keeps the original
        name = inner.pop("ref", None)  # so that OpenAPI still knows it as a component
        return core_schema.no_info_wrap_validator_function(_with_field_errors, inner, ref=name)
