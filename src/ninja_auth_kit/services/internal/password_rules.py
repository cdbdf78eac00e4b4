"""Password rules: what a new password must satisfy."""

from functools import cache
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
from ninja_auth_kit.services.internal.password_hashing import MAXIMUM_BYTES, longest_password, normalized, spellings

# Applies if AUTH_PASSWORD_VALIDATORS is empty. The password is the only factor, and for that case
# SP 800-63B-4 section 3.1.1.2 requires 15 characters.
_DEFAULT_MINIMUM = 15
# Always applies: no standard allows a lower minimum.
_ABSOLUTE_MINIMUM = 8
_SHORT_WORD = 3  # "www" and "com" do not identify a site


@sensitive_variables()
def check_new_password(password: str, *, user: Any, field: str = "password") -> None:
    """Check a password that an account is to have.

    Args:
        password: as typed, and never trimmed. The rules apply to its normalised form, which is what is hashed
            (NIST SP 800-63B-4 section 3.1.1.2), and to the password as typed: one typed letter can be 18 in NFKC.
        user: the owner of the account, who may be unsaved. A password similar to the username or the email address is
            rejected.
        field: the name of the input field, for the errors.

    Raises:
        InvalidInputError: the password breaks rules; there is one error for each.
    """
    _check_length(password, field=field, longest=MAXIMUM_BYTES)  # before it is normalised, which takes time
    _check_length(normalized(password), field=field, longest=longest_password())
    validators = get_default_password_validators() if django_settings.AUTH_PASSWORD_VALIDATORS else _kit_validators()
    for spelling in spellings(password):
        try:
            validate_password(spelling, user, [MinimumLengthValidator(_ABSOLUTE_MINIMUM), *validators])
        except ValidationError as error:
            raise InvalidInputError(*_field_errors(field, error)) from None


@sensitive_variables()
def _check_length(password: str, *, field: str, longest: int) -> None:
    if len(password.encode()) > longest:
        message = _("This password is too long. It can have at most %(limit)d bytes.") % {"limit": longest}
        raise InvalidInputError(FieldError(field, "password_too_long", message))


@cache
def _kit_validators() -> list[Any]:
    """Return the validators of a project that names none. Cached, as Django's are: one reads 20,000 passwords."""
    return [
        UserAttributeSimilarityValidator(),
        MinimumLengthValidator(_DEFAULT_MINIMUM),
        UncommonPasswordValidator(),
    ]


def _field_errors(field: str, error: ValidationError) -> list[FieldError]:
    """Return one error per rule. Of two minimum lengths, the one of your project is kept, which comes last."""
    by_code = {}
    for one in error.error_list:
        by_code[one.code or "invalid"] = FieldError(field, one.code or "invalid", " ".join(one.messages))
    return list(by_code.values())


class UncommonPasswordValidator(CommonPasswordValidator):
    """Reject common passwords, and those that are little more than the name of the site or mailbox (ASVS 6.2.11)."""

    @sensitive_variables()
    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError for such a password. The message does not repeat the password."""
        super().validate(password, user)
        rest = folded = password.casefold()
        for word in _guessable_words(user):
            rest = rest.replace(word, "")
        if len(rest) < min(_ABSOLUTE_MINIMUM, len(folded)):
            raise ValidationError(self.get_error_message(), code="password_too_common")


def _guessable_words(user: Any) -> list[str]:
    site = urlsplit(settings.BASE_URL or "").hostname or ""
    name = settings.SITE_NAME.casefold()
    mailbox = str(getattr(user, email_field(), "") or "").rpartition("@")[0].casefold()
    words = {site, *site.split("."), name, *name.split(), mailbox}
    # Longest first, then alphabetically. The order in which words are removed decides what is left,
    # so it must not be the order of a set.
    return sorted((word for word in words if len(word) > _SHORT_WORD), key=lambda word: (-len(word), word))
