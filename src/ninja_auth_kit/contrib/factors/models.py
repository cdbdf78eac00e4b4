"""Factors, recovery codes and remembered devices.

The rows of a user are deleted by the database together with the user: see `ninja_auth_kit.models.user_constraints`.
"""

import uuid
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.contrib.factors.kinds import are_second_factors
from ninja_auth_kit.models.managers import PrimaryManager
from ninja_auth_kit.models.users import account_state
from ninja_auth_kit.tokens.digests import DIGEST_PATTERN, digest, is_digest_of

NAME_LENGTH = 64


class Confirmed(NamedTuple):
    """The confirmed factors of a user, as one query reads them.

    Attributes:
        kinds: the kind of each factor, by its id.
        set_ids: the `set_id` of the factors. All have the same.
    """

    kinds: dict[uuid.UUID, str]
    set_ids: frozenset[uuid.UUID]

    @property
    def are_asked_for(self) -> bool:
        """Whether a second factor is due behind a first one."""
        return bool(self.kinds) and are_second_factors(self.kinds.values())

    def state_of(self, user: Any) -> str:
        """Return what must not change while a login is pending or a device is remembered. It is secret.

        A factor that is added and removed again does not bring an earlier state back.
        """
        return "\n".join([account_state(user), *sorted(map(str, self.set_ids))])


class FactorManager(PrimaryManager["Factor"]):
    """Read factors."""

    def confirmed(self, user: Any) -> Confirmed:
        """Return the confirmed factors of a user, with one query. Others are never asked for."""
        rows = self.filter(user=user.pk, confirmed_at__isnull=False).values_list("id", "kind", "set_id")
        return Confirmed({key: kind for key, kind, _ in rows}, frozenset(set_id for _, _, set_id in rows))

    def begin_set(self, *user_ids: Any) -> None:
        """Note that the factors of users have changed: pending logins and remembered devices of before are void."""
        for user_id in user_ids:
            self.filter(user=user_id).update(set_id=uuid.uuid4())


class Factor(models.Model):
    """A second factor of a user. The app of its kind has what belongs to it, such as a secret.

    Attributes:
        kind: the name of a `kinds.Kind`.
        name: what the user calls it.
        confirmed_at: when the user proved that it works; None until then.
        expires_at: until when it can be confirmed; None afterwards.
        set_id: that of the user's present set of factors. It changes whenever one is added or removed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it
        related_name="+",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    kind = models.CharField(_("kind"), max_length=20)
    name = models.CharField(_("name"), max_length=NAME_LENGTH, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    set_id = models.UUIDField(default=uuid.uuid4, editable=False)

    objects = FactorManager()

    class Meta:
        app_label = "ninja_auth_kit_factors"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")
        indexes = [
            models.Index(fields=["user"], name="authkit_factor_by_user"),
            models.Index(
                fields=["expires_at"], condition=models.Q(expires_at__isnull=False), name="authkit_factor_by_expiry"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(confirmed_at=None, expires_at__isnull=False)
                | models.Q(confirmed_at__isnull=False, expires_at=None),
                name="authkit_factor_confirmed_or_expires",
            )
        ]

    def __str__(self) -> str:
        return self.name or self.kind


RECOVERY_LABEL = "recovery code"


class RecoveryCode(models.Model):
    """The keyed digest of a recovery code and its user. Codes exist only as long as the user has a factor.

    A code has 120 random bits, so it needs no slow hash (ASVS 6.5.2).
    """

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it
        related_name="+",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    digest = models.CharField(max_length=100)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    used_at = models.DateTimeField(_("used at"), null=True, blank=True)

    objects = PrimaryManager["RecoveryCode"]()

    class Meta:
        app_label = "ninja_auth_kit_factors"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")
        constraints = [
            models.UniqueConstraint(fields=["user", "digest"], name="authkit_recovery_code"),
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_recovery_digest"),
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


DEVICE_LABEL = "device token"
_DEVICE_STATE = "device state"


class RememberedDeviceManager(PrimaryManager["RememberedDevice"]):
    """Forget devices, and keep them."""

    def forget(self, user_id: Any | None) -> None:
        """Forget the devices of a user; None for those of all users."""
        (self.all() if user_id is None else self.filter(user=user_id)).delete()

    def rebind_to_new_hash(self, *, before: Any, after: Any) -> None:
        """Keep the devices of a user whose password has a new hash, and is the same."""
        devices = list(self.filter(user=after.pk))
        if devices:
            confirmed = Factor.objects.confirmed(after)
            for device in devices:
                if device.is_bound_to(confirmed.state_of(before)):
                    device.bind(confirmed.state_of(after))
                    self.filter(pk=device.pk).update(auth_hash=device.auth_hash)


class RememberedDevice(models.Model):
    """A device on which a user is not asked for the second factor. It never makes a login a login with two factors.

    Attributes:
        digest: the keyed digest of its token and its user.
        auth_hash: the keyed digest of the state of the account and of its factors. If it changes, the device is not
            remembered any more.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database deletes it
        related_name="+",
        db_index=False,  # an index below begins with it
        db_constraint=False,
    )
    digest = models.CharField(max_length=100)
    auth_hash = models.CharField(max_length=100)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used at"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires at"))
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)

    objects = RememberedDeviceManager()

    class Meta:
        app_label = "ninja_auth_kit_factors"  # without the app, Django would take it for a model of ninja_auth_kit
        base_manager_name = "objects"
        verbose_name = _("remembered device")
        verbose_name_plural = _("remembered devices")
        indexes = [
            models.Index(fields=["user"], name="authkit_device_by_user"),
            models.Index(fields=["expires_at"], name="authkit_device_by_expiry"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="authkit_device_token"),
            models.CheckConstraint(condition=models.Q(digest__regex=DIGEST_PATTERN), name="authkit_device_digest"),
            models.CheckConstraint(condition=models.Q(auth_hash__regex=DIGEST_PATTERN), name="authkit_device_state"),
        ]

    def __str__(self) -> str:
        return self.user_agent or str(self.pk)

    def bind(self, state: str) -> None:
        """Bind the device to the state of the account and of its factors."""
        self.auth_hash = digest(_DEVICE_STATE, f"{self.user_id} {state}")

    def is_bound_to(self, state: str) -> bool:
        """Return whether nothing has changed since."""
        return is_digest_of(self.auth_hash, _DEVICE_STATE, f"{self.user_id} {state}")
