"""Registrations of addresses that have an account already.

They are stored so that their outcome cannot be distinguished from that of other registrations.
"""

from collections.abc import Collection
from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.models.managers import PrimaryManager


class ShadowRegistrationManager(PrimaryManager["ShadowRegistration"]):
    """Store one shadow registration for each account."""

    def for_user(self, user: Any | None) -> "ShadowRegistration | None":
        """Return the shadow registration of an account, or None.

        For None it runs the same query, which finds no row, so that both take as long.
        """
        return self.filter(user=user).first()

    def related(self, *, owner: Any | None = None, keys: Collection[str] = ()) -> "list[ShadowRegistration]":
        """Return the shadow registration of an account, and those that hold a unique value.

        It takes one query, even if there is no owner, so that both take as long.

        Args:
            owner: the user who has the account, or None.
            keys: the keys of the values, see `UniqueValues`.
        """
        either = Q(user=owner)
        if keys:
            either |= Q(held__has_any_keys=list(keys))
        return list(self.filter(either))

    def record(self, registration: "ShadowRegistration", *, previous: "ShadowRegistration | None") -> None:
        """Store a registration of an address that is in use.

        It replaces an earlier one of the same account. Of several at the same time the first is
        stored, as for a free address: which of two passwords counts must not distinguish an address
        in use from a free one.

        Args:
            registration: the registration. Its user, who has the address, is locked.
            previous: the row that existed when this registration began. If there is another by now,
                nothing is stored.
        """
        present = self.for_user(registration.user)
        if (present and present.password) != (previous and previous.password):
            return
        self.bulk_create(
            [registration],
            update_conflicts=True,
            unique_fields=["user"],
            update_fields=["canonical", "username", "held", "password", "registered_at"],
        )

    def find(self, *, canonical: str = "", username: str = "") -> "ShadowRegistration | None":
        """Return the newest shadow registration with this address or name, or None.

        The name is used only if no address is given. It takes one query. The address is compared as
        it was registered, whichever user has it in which spelling.
        """
        which = {"canonical": canonical} if canonical else {"username": username}
        return self.filter(**which).order_by("-pk").first()


class ShadowRegistration(models.Model):
    """A registration that created no account because its address is in use.

    It closes an attack: register an address and log in with the password that was chosen. Without
    this row, "wrong password" would reveal that the address has an account, and "not verified" that
    it has none. Whether the username is free afterwards would reveal the same. With it, the login is
    rejected as "not verified", and the username and other unique values are taken. It lapses as a
    pending registration does.

    Attributes:
        user: the user who has the address.
        canonical: the address in its canonical spelling.
        username: the username, or "" if users have none.
        held: the keys of the unique values, see `UniqueValues.held`.
        password: the hash of the password.
        registered_at: when it was stored, or its last verification link was requested.
    """

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database deletes it, see `user_constraints`
        related_name="+",
        db_constraint=False,
    )
    canonical = models.CharField(max_length=254)
    username = models.CharField(max_length=255, blank=True)
    held = models.JSONField(default=dict)  # the migration adds an index, which models cannot describe
    password = models.CharField(max_length=255)
    registered_at = models.DateTimeField(default=timezone.now)

    objects = ShadowRegistrationManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("rejected registration")
        verbose_name_plural = _("rejected registrations")
        indexes = [
            models.Index(fields=["canonical"], name="authkit_shadow_by_address"),
            models.Index(fields=["username"], name="authkit_shadow_by_username"),
            models.Index(fields=["registered_at"], name="authkit_shadow_by_time"),
        ]

    def __str__(self) -> str:
        return f"shadow registration {self.pk}"
