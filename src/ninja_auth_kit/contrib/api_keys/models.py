"""API keys.

The rows of a user are deleted by the database together with the user: see `ninja_auth_kit.models.user_constraints`.
"""

import base64
import json
import re
import secrets
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.contrib.api_keys.settings import SCOPE_LENGTH
from ninja_auth_kit.features import Rewrapped
from ninja_auth_kit.models.compiled_query import CompiledQuery, ModelColumns, Placeholder, cached_unless_filtered
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.tokens.digests import DIGEST_PATTERN, digest, is_digest_of
from ninja_auth_kit.tokens.sealing import current_prefix, is_sealed_by_current_root, known_root

LABEL = "API key"
NAME_LENGTH = 64
PREFIX = "nakp_"  # so that scanners find keys that were published
USE_IS_NOTED = timedelta(hours=1)  # a write in each request would be the most expensive part of it

_ID, _SECRET, _SHOWN = 16, 32, 12  # bytes of the id and of the secret, letters that a list shows
# 48 bytes are 64 letters of base64url without padding, so a key has one spelling.
_KEY = re.compile(rf"{PREFIX}([A-Za-z0-9_-]{{64}})", re.ASCII)


def id_of(key: str) -> uuid.UUID | None:
    """Return the id that a key names, or None for a text that cannot be a key."""
    match = _KEY.fullmatch(key)
    return None if match is None else uuid.UUID(bytes=base64.urlsafe_b64decode(match[1])[:_ID])


def _new_key(key_id: uuid.UUID) -> str:
    return PREFIX + base64.urlsafe_b64encode(key_id.bytes + secrets.token_bytes(_SECRET)).decode()


class ApiKeyManager(PrimaryManager["ApiKey"]):
    """Create, find and use keys."""

    @sensitive_variables()
    def issue(self, user: Any, *, name: str, scopes: Iterable[str], lifetime: timedelta) -> "tuple[ApiKey, str]":
        """Store a new key of a user, and return its row and the key. The key cannot be shown again."""
        expires_at = timezone.now().replace(microsecond=0) + lifetime
        row = ApiKey(user_id=user.pk, name=name, scopes=sorted(set(scopes)), expires_at=expires_at)
        key = _new_key(row.pk)
        row.digest = digest(LABEL, row.bound(key))
        self.bulk_create([row])
        return row, key

    def valid(self, user: Any) -> "models.QuerySet[ApiKey]":
        """Return the keys of a user that have not expired, the newest first."""
        return self.filter(user=user.pk, expires_at__gt=timezone.now()).order_by("-created_at", "pk")

    def load(self, key_id: uuid.UUID) -> "ApiKey | None":
        """Return a row with its user loaded, valid or not, by one query; None if either does not exist."""
        for row, user in _key_query(accounts_database()).fetch(key_id=key_id):
            row.user = user
            found: ApiKey = row
            return found
        return None

    @sensitive_variables()
    def note_use(self, row: "ApiKey", key: str) -> None:
        """Store that a key was used, at most once an hour, and move its digest to the current root secret.

        A parallel use may have stored it since the row was read. Then nothing is stored.
        """
        now, is_current = timezone.now(), is_sealed_by_current_root(row.digest, LABEL)
        if is_current and row.last_used_at is not None and now - row.last_used_at < USE_IS_NOTED:
            return
        changed = row.digest if is_current else digest(LABEL, row.bound(key))
        unchanged = self.filter(pk=row.pk, digest=row.digest, last_used_at=row.last_used_at)
        with atomic():  # a savepoint with ATOMIC_REQUESTS, so that the request can go on if the database is read-only
            unchanged.update(last_used_at=now, digest=changed)

    def of_former_roots(self) -> "models.QuerySet[ApiKey]":
        """Return the valid keys that were not used since the root secret was replaced."""
        return self.filter(expires_at__gt=timezone.now()).exclude(digest__startswith=current_prefix(LABEL))

    def of_removed_roots(self) -> "models.QuerySet[ApiKey]":
        """Return the valid keys that are refused, because the root secret of their digest is listed no more."""
        return self.filter(expires_at__gt=timezone.now()).exclude(known_root(LABEL, column="digest"))

    def rewrap(self) -> Rewrapped:
        """Count what only its use can renew: a digest cannot be made again without the key."""
        return Rewrapped("API keys", 0, self.of_former_roots().count())


class ApiKey(models.Model):
    """A key of a user, for a program that acts in the name of the user.

    A key has 256 random bits, so it needs no slow hash (ASVS 6.5.2).

    Attributes:
        id: a part of the key, by which it is found.
        name: what the user calls it.
        digest: the keyed digest of the id, the user, the scopes, the expiry and the key. So who writes to the database
            without the root secret can neither widen a key, prolong it, nor move it to another user.
        scopes: what the key allows, of `API_KEYS["SCOPES"]`.
        last_used_at: when it was last used, to the hour; None if never.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it
        related_name="authkit_api_keys",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    digest = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=SCOPE_LENGTH), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires at"))
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    objects = ApiKeyManager()

    class Meta:
        app_label = "ninja_auth_kit_api_keys"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        indexes = [
            models.Index(fields=["user"], name="authkit_api_key_by_user"),
            models.Index(fields=["expires_at"], name="authkit_api_key_by_expiry"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_api_key_digest"),
        ]

    def __str__(self) -> str:
        return self.start

    @property
    def start(self) -> str:
        """The first letters of the key, by which its owner recognises it. They are a part of the id."""
        return (PREFIX + base64.urlsafe_b64encode(self.pk.bytes).decode())[:_SHOWN]

    def bound(self, key: str) -> str:
        """Return what the digest binds together. It is secret."""
        expiry = f"{self.expires_at.timestamp():.6f}"
        return json.dumps([str(self.pk), str(self.user_id), self.scopes, expiry, key])

    def is_row_of(self, key: str) -> bool:
        """Return whether the kit has written the row as it is for this key."""
        return is_digest_of(self.digest, LABEL, self.bound(key))


@cached_unless_filtered(lambda: get_user_model()._default_manager)
def _key_query(alias: str) -> CompiledQuery:
    model = get_user_model()
    # Through the user's default manager, as for sessions: a user whom it hides cannot use a key.
    key_id = Placeholder("key_id", ApiKey._meta.pk)
    users = model._default_manager.using(alias).filter(authkit_api_keys__id=key_id).order_by()
    return CompiledQuery(users, ModelColumns(ApiKey, "authkit_api_keys"), ModelColumns(model))
