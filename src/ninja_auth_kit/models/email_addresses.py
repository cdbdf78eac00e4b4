"""Email addresses: their canonical spelling, the user who holds one, and whether it is verified."""

import re
from datetime import datetime

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ninja_auth_kit.conf import settings
from ninja_auth_kit.domains import InvalidDomainError, ascii_domain, readable_domain
from ninja_auth_kit.models.managers import PrimaryManager

MAXIMUM_LENGTH = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")

_ASCII_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")


class InvalidEmailError(ValueError):
    """The text is not an address that can be used.

    It is quoted, has an IP literal, is not ASCII before the @, or is malformed.

    Attributes:
        needs_smtputf8: whether the address has letters before the @ that are not ASCII. Such an address can be
            genuine, but only mail servers with SMTPUTF8 (RFC 6531) deliver to it, and Django sends no such email.
    """

    needs_smtputf8 = False


def canonical_email(email: str) -> str:
    """Return the canonical spelling of an address, which is used for look-ups and kept unique.

    It is in lower case, with the domain as A-labels of IDNA 2008. It is computed only in Python:
    databases and collations disagree about the case of U+0131, U+017F and U+212A, and such a
    disagreement lets one address pass as another (CVE-2019-19844).

    Raises:
        InvalidEmailError: the text is not an address that can be used. Nothing is stripped or
            corrected silently.
    """
    local, at, domain = email.rpartition("@")
    if not at or len(email) > MAXIMUM_LENGTH or not _LOCAL_PART.fullmatch(local):
        raise _invalid(local if at else "")
    try:
        canonical = f"{local.lower()}@{domain.lower() if _ASCII_DOMAIN.fullmatch(domain) else ascii_domain(domain)}"
        validate_email(canonical)
    except (InvalidDomainError, ValidationError) as error:
        raise InvalidEmailError from error
    if len(canonical) > MAXIMUM_LENGTH:
        raise InvalidEmailError
    return canonical


def _invalid(local_part: str) -> InvalidEmailError:
    error = InvalidEmailError()
    error.needs_smtputf8 = not local_part.isascii()
    return error


def counted_spelling(email: str) -> str:
    """Return the spelling under which failed logins are counted, also for text that is not an address."""
    try:
        return canonical_email(email.strip())
    except InvalidEmailError:
        return email.strip().casefold()


def readable_email(canonical: str) -> str:
    """Return a canonical address with its domain as people read it, as U-labels."""
    local, _, domain = canonical.rpartition("@")
    return f"{local}@{readable_domain(domain)}" if "xn--" in domain else canonical


def has_lapsed(registered_at: datetime | None) -> bool:
    """Return whether the verification link of a registration has expired. An account from elsewhere never lapses."""
    return registered_at is not None and registered_at <= timezone.now() - settings.EMAIL_VERIFICATION_LIFETIME


class EmailAddress(models.Model):
    """The email address of one user, and whether it is verified.

    A user without a row, or with another address than the one in the row, counts as unverified.

    Attributes:
        email: the address as the user typed it. Emails are sent to this spelling.
        canonical: the spelling of `canonical_email`, which is unique.
        verified_at: when the address was verified, or None.
        registered_at: when `register` made the account, or its last verification link was requested. None for
            accounts that were made elsewhere: `authkit_prune` never deletes those.
    """

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="authkit_email",
        db_constraint=False,
    )
    # The context keeps the translation from replacing that of Django's own "email address" in the whole project.
    email = models.CharField(pgettext_lazy("of an account", "email address"), max_length=MAXIMUM_LENGTH)
    # Translators: the one spelling under which an email address is looked up.
    canonical = models.CharField(_("canonical spelling"), max_length=MAXIMUM_LENGTH)
    verified_at = models.DateTimeField(_("verified at"), null=True, blank=True)
    registered_at = models.DateTimeField(_("registered at"), null=True, blank=True)

    objects = PrimaryManager["EmailAddress"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = pgettext_lazy("of an account", "email address")
        verbose_name_plural = _("email addresses")
        indexes = [
            # For the list of unverified addresses in the admin; they are few.
            models.Index(fields=["id"], condition=models.Q(verified_at=None), name="authkit_email_waiting")
        ]
        constraints = [models.UniqueConstraint(fields=["canonical"], name="authkit_email_canonical")]

    def __str__(self) -> str:
        return self.email
