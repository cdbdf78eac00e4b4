"""What a new password must be."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth.password_validation import (
    CommonPasswordValidator,
    MinimumLengthValidator,
    UserAttributeSimilarityValidator,
    get_default_password_validators,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models.users import email_field

# Where the host names no validators, the kit's apply. The password is the only factor (SP 800-63B-4 section 3.1.1.2).
_DEFAULT_MINIMUM = 15
# Whatever the host names, these hold: a floor no standard goes below, and a bound on what is hashed (DoS).
_ABSOLUTE_MINIMUM = 8
MAXIMUM_BYTES = 1024
_SHORT_WORD = 3  # "www" and "com" are of no site


class UncommonPasswordValidator(CommonPasswordValidator):
    """Refuses what many have, and what is little more than the name of the site or of the mailbox (ASVS 6.2.11)."""

    @sensitive_variables()
    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError for such a password; it is not repeated."""
        super().validate(password, user)
        rest = folded = password.casefold()
        for word in _guessable_words(user):
            rest = rest.replace(word, "")
        if len(rest) < min(_ABSOLUTE_MINIMUM, len(folded)):
            raise ValidationError(self.get_error_message(), code="password_too_common")


def _guessable_words(user: Any) -> list[str]:
    site = urlsplit(settings.BASE_URL or "").hostname or ""
    mailbox = str(getattr(user, email_field(), "") or "").rpartition("@")[0].casefold()
    words = {site, *site.split("."), mailbox}
    # The longest first, and of as long ones always the same: which is taken out first decides what is left.
    return sorted((word for word in words if len(word) > _SHORT_WORD), key=lambda word: (-len(word), word))


@sensitive_variables()
def check_new_password(password: str, *, user: Any, field: str = "password") -> None:
    """Check a password that somebody wants to have.

    Args:
        password: exactly as received; nothing is trimmed or normalised (ASVS 6.2.8).
        user: who wants it; need not be saved. A password like the name or the address is refused.
        field: the name of the input field, for the errors.

    Raises:
        InvalidInputError: each rule that it breaks.
    """
    if len(password.encode()) > MAXIMUM_BYTES:
        raise InvalidInputError(
            FieldError(field, "password_too_long", _("This password is too long. It can have at most 1024 bytes."))
        )
    validators = get_default_password_validators() if django_settings.AUTH_PASSWORD_VALIDATORS else _kit_validators()
    try:
        validate_password(password, user, [MinimumLengthValidator(_ABSOLUTE_MINIMUM), *validators])
    except ValidationError as error:
        raise InvalidInputError(*_field_errors(field, error)) from None


def _kit_validators() -> list[Any]:
    return [
        UserAttributeSimilarityValidator(),
        MinimumLengthValidator(_DEFAULT_MINIMUM),
        UncommonPasswordValidator(),
    ]


def _field_errors(field: str, error: ValidationError) -> list[FieldError]:
    """One error per rule; of two minimum lengths, the host's, which comes last and asks for more."""
    by_code = {}
    for fault in error.error_list:
        by_code[fault.code or "invalid"] = FieldError(field, fault.code or "invalid", " ".join(fault.messages))
    return list(by_code.values())
