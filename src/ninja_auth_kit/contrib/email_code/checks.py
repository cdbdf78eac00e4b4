"""The system check of email codes. The app registers it: it reads a setting that only the installed app has."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import error
from ninja_auth_kit.checks.settings import are_valid, fields_of_registration
from ninja_auth_kit.checks.users_and_database import must_be_filled
from ninja_auth_kit.conf import settings


def check_required_fields(**_: Any) -> list[CheckMessage]:
    """E023: a registration by code has no fields but the email address and the username."""
    if not are_valid() or not settings.EMAIL_CODE["REGISTERS"] or settings.CREATE_USER is not None:
        return []
    model: Any = get_user_model()
    asked_for = set(fields_of_registration())
    return [
        error(
            "E023",
            f"A registration by an emailed code cannot fill {model.__name__}.{field.name}.",
            "Only REGISTRATION_SCHEMA has the field. Set CREATE_USER to a function that fills it, set null=True or "
            "a default (for a unique field, a callable that returns a new value each time), or set "
            "NINJA_AUTH_KIT['EMAIL_CODE']['REGISTERS'] to False.",
        )
        for field in model._meta.concrete_fields
        if not asked_for.isdisjoint((field.name, field.attname)) and must_be_filled(field, model)
    ]
