"""Registrations of addresses that somebody has already, kept so that nobody can tell that they led nowhere."""

from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.models.managers import PrimaryManager


class ShadowManager(PrimaryManager["ShadowRegistration"]):
    """Keeping one shadow of an account: the latest, and of several at once the first."""

    def behind(self, user: Any | None) -> "ShadowRegistration | None":
        """Return the shadow of an account; for nobody as well, by a query that finds none."""
        return self.filter(user=user).first()

    def cast(
        self, *, user: Any, canonical: str, username: str, password: str, before: "ShadowRegistration | None"
    ) -> None:
        """Keep a registration that was turned away, in the place of an earlier one of the same account.

        Of several at once the first counts, as of those of an address that is free: which of two passwords counts must
        not tell one from the other.

        Args:
            user: who has the address; locked.
            canonical: the address, in its canonical spelling.
            username: the name it asked for, "" where users have none.
            password: the hash of the password it chose.
            before: what was there when this registration began; nothing happens if it is another by now.
        """
        present = self.behind(user)
        if (present and present.password) != (before and before.password):
            return
        self.bulk_create(
            [ShadowRegistration(user=user, canonical=canonical, username=username, password=password)],
            update_conflicts=True,
            unique_fields=["user"],
            update_fields=["canonical", "username", "password"],
        )

    def of(self, *, canonical: str = "", username: str = "") -> "ShadowRegistration | None":
        """Return the newest shadow of a registration with this address, or else with this name, by one query.

        By the address as it was registered, whichever user has it in whatever spelling.
        """
        which = {"canonical": canonical} if canonical else {"username": username}
        return self.filter(**which).order_by("-pk").first()


class ShadowRegistration(models.Model):
    """A registration that was turned away because its address is in use.

    Whoever registers an address and then logs in with the password just chosen would otherwise learn from "wrong
    password" that the address has an account, and from "not verified" that it has none; and from the name that is
    free or taken afterwards the same. So the shadow's password gets "not verified", and its name is taken.
    """

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,  # the database does, see `user_ties`
        related_name="+",
        db_constraint=False,
    )
    canonical = models.CharField(max_length=254)
    username = models.CharField(max_length=255, blank=True)
    password = models.CharField(max_length=255)

    objects = ShadowManager()

    class Meta:
        verbose_name = _("rejected registration")
        verbose_name_plural = _("rejected registrations")
        indexes = [
            models.Index(fields=["canonical"], name="authkit_shadow_by_address"),
            models.Index(fields=["username"], name="authkit_shadow_by_username"),
        ]

    def __str__(self) -> str:
        return f"shadow registration {self.pk}"
