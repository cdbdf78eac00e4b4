"""The second factors of other packages, as `authkit_factors import` reads them.

A source reads the models of a package that is installed in your project, one batch of users after the other. It
changes nothing. Whatever is wrong with a row is a reason to refuse that row, and never an error of the command.
"""

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.models import Exists, OuterRef, QuerySet, TextChoices
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.conf import accounts_database

BATCH = 200  # users; a login of one of them may have to wait until the batch is committed


class Outcome(TextChoices):
    """The factor was imported, or the reason why it was not. Each reason follows a colon."""

    DONE = "done", "imported"
    KNOWN = "known", "the user has it already, or has removed it since it was imported"
    UNCONFIRMED = "unconfirmed", "it was never confirmed"
    OTHER_CODES = (
        "other_codes",
        "its codes do not have 6 digits, 30 seconds and 1970 as the start, as those of the kit",
    )
    CLOCK = "clock", "its clock differs by more time steps than TOTP['DRIFT'] allows"
    WEAK_SECRET = "weak_secret", "its secret has less than 112 bits"
    UNREADABLE = "unreadable", "its data cannot be read"
    OTHER_DOMAIN = "other_domain", "it is bound to another domain than PASSKEYS['RP_ID']"
    OTHER_ALGORITHM = "other_algorithm", "the kit does not offer its algorithm"
    REGISTERED = "registered", "another user has registered a passkey with its credential ID"
    LIMIT = "limit", "the user has as many factors of this kind as LIMIT allows"
    OTHER_KIND = "other_kind", "the kit has no factor of this kind"
    ONLY_CODES = "only_codes", "the user has recovery codes and no other factor"
    NOT_INSTALLED = "not_installed", "the optional app for this kind of factor is not installed"
    NO_USER = "no_user", "the user does not exist"
    DISABLED = "disabled", "the user is disabled"
    PENDING = "pending", "the user is a registration that waits for its owner"


class RefusedError(Exception):
    """A factor cannot be imported. The argument is an `Outcome`."""

    @property
    def outcome(self) -> Outcome:
        """Return the reason."""
        return Outcome(self.args[0])


@dataclass(frozen=True)
class FormerTotp:
    """The authenticator app of another package.

    Attributes:
        last_step: the time step of the last code that was used, or None if the package has not stored it.
        tolerance: how many time steps ahead a code may be for the package.
        drift: by how many time steps the clock of the app was ahead when it was last used.
    """

    secret: bytes = field(repr=False)
    last_step: int | None
    tolerance: int
    drift: int = 0


@dataclass(frozen=True)
class FormerPasskey:
    """The passkey of another package.

    Attributes:
        authenticator_data: of its registration (WebAuthn Level 3 section 6.1).
        user_handle: the user handle that it was registered with.
        transports: what the browser has said, unchecked.
        extensions: what the browser has said, unchecked.
    """

    authenticator_data: bytes
    user_handle: bytes
    transports: Any
    extensions: Any


@dataclass(frozen=True)
class FormerFactor:
    """A row of another package.

    Attributes:
        user_id: the primary key of its owner.
        name: its model and its primary key, such as "otp_totp.totpdevice 12".
        kind: the name of a `kinds.Kind`.
        read: takes the owner, and returns what the app of the kind takes. It raises `RefusedError`, or any other
            exception for data that it cannot read.
        label: what the user calls it.
    """

    user_id: Any
    name: str
    kind: str
    read: Callable[[Any], Any] = field(repr=False)
    label: str = ""
    created_at: datetime | None = None
    last_used_at: datetime | None = None


def _refused(user_id: Any, model: Any, key: Any, outcome: Outcome) -> FormerFactor:
    def read(_: Any) -> None:
        raise RefusedError(outcome)

    return FormerFactor(user_id, _name(model, key), "", read)


def _name(model: Any, key: Any) -> str:
    return f"{model._meta.label_lower} {key}"


class Source(ABC):
    """A package whose factors can be imported.

    Attributes:
        app: the app that must be in INSTALLED_APPS, whose models are read.
    """

    app: str

    @property
    def is_installed(self) -> bool:
        """Whether the models can be read."""
        return apps.is_installed(self.app)

    @abstractmethod
    def batches(self) -> Iterator[list[FormerFactor]]:
        """Read all factors. Each list has all rows of one model that belong to its users."""


def _batches(rows: QuerySet[Any], read: Callable[[Any], FormerFactor | None]) -> Iterator[list[FormerFactor]]:
    """Read rows in the order of their users, with as many rows in memory as `BATCH` users have."""
    after = rows.order_by("user_id")
    while keys := list(after.values_list("user_id", flat=True).distinct()[:BATCH]):
        found = (_found(row, read) for row in _loaded(rows.filter(user_id__in=keys).order_by("user_id", "pk")))
        yield [factor for factor in found if factor is not None]
        after = rows.filter(user_id__gt=keys[-1]).order_by("user_id")


def _found(row: Any, read: Callable[[Any], FormerFactor | None]) -> FormerFactor | None:
    return row if isinstance(row, FormerFactor) else read(row)


def _loaded(rows: QuerySet[Any]) -> list[Any]:
    """Load rows; in place of one that Python cannot represent, such as with a time of `infinity`, return a refusal."""
    try:
        return list(rows)
    except (InterfaceError, OperationalError, ProgrammingError):
        raise
    except Exception:  # which one depends on the type of the column
        return [_loaded_alone(rows, *keys) for keys in rows.values_list("pk", "user_id")]


def _loaded_alone(rows: QuerySet[Any], key: Any, user_id: Any) -> Any:
    try:
        return rows.get(pk=key)
    except (InterfaceError, OperationalError, ProgrammingError):
        raise
    except Exception:
        return _refused(user_id, rows.model, key, Outcome.UNREADABLE)


def _all(model: Any) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._base_manager.using(accounts_database())
    return rows


class DjangoOtp(Source):
    """The devices of django-otp, which django-two-factor-auth uses as well."""

    app = "django_otp.plugins.otp_totp"

    def batches(self) -> Iterator[list[FormerFactor]]:
        """Read all devices: first the authenticator apps, and then the others, which can only be listed."""
        totp, static = (_model(f"django_otp.plugins.{name}") for name in ("otp_totp", "otp_static"))
        totp_model, static_model = totp.TOTPDevice, static.StaticDevice if static else None
        others = [
            model
            for model in import_module("django_otp").device_classes()
            if not (issubclass(model, totp_model) or model is static_model or model._meta.proxy)
        ]
        yield from _batches(_all(totp_model), self._read)
        for model in others:
            yield from self._only_listed(_all(model).filter(confirmed=True), Outcome.OTHER_KIND)
        if static_model is not None:
            rows = _all(static_model).filter(confirmed=True, token_set__isnull=False)
            for model in (totp_model, *others):
                rows = rows.exclude(Exists(_all(model).filter(user_id=OuterRef("user_id"))))
            yield from self._only_listed(rows.distinct(), Outcome.ONLY_CODES)

    @staticmethod
    def _only_listed(rows: QuerySet[Any], outcome: Outcome) -> Iterator[list[FormerFactor]]:
        return _batches(rows.only("pk", "user_id"), lambda row: _refused(row.user_id, type(row), row.pk, outcome))

    def _read(self, device: Any) -> FormerFactor:
        @sensitive_variables()
        def read(_: Any) -> FormerTotp:
            if not device.confirmed:
                raise RefusedError(Outcome.UNCONFIRMED)
            if (device.digits, device.step, device.t0) != (6, 30, 0):
                raise RefusedError(Outcome.OTHER_CODES)
            # django-two-factor-auth does not store the step of the first code. It accepts one step ahead.
            last_step = device.last_t if device.last_t >= 0 else None
            return FormerTotp(device.bin_key, last_step, tolerance=1, drift=device.drift)

        return FormerFactor(
            device.user_id,
            _name(type(device), device.pk),
            "totp",
            read,
            device.name,
            getattr(device, "created_at", None),  # versions before 1.4 do not have these
            getattr(device, "last_used_at", None),
        )


class Allauth(Source):
    """The authenticators of `allauth.mfa`."""

    app = "allauth.mfa"

    def batches(self) -> Iterator[list[FormerFactor]]:
        """Read all authenticators but the recovery codes."""
        model = import_module("allauth.mfa.models").Authenticator
        yield from _batches(_all(model).exclude(type="recovery_codes"), self._read)

    def _read(self, row: Any) -> FormerFactor:
        kinds: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
            "totp": ("totp", self._read_totp),
            "webauthn": ("passkey", self._read_passkey),
        }
        if row.type not in kinds:
            return _refused(row.user_id, type(row), row.pk, Outcome.OTHER_KIND)
        kind, read = kinds[row.type]
        label = row.data.get("name") if isinstance(row.data, dict) else None
        return FormerFactor(
            row.user_id,
            _name(type(row), row.pk),
            kind,
            lambda user: read(row, user),
            label if isinstance(label, str) else "",
            row.created_at,
            row.last_used_at,
        )

    @staticmethod
    @sensitive_variables()
    def _read_totp(row: Any, _: Any) -> FormerTotp:
        settings = import_module("allauth.mfa.app_settings")
        if (settings.TOTP_DIGITS, settings.TOTP_PERIOD) != (6, 30):
            raise RefusedError(Outcome.OTHER_CODES)
        text = import_module("allauth.mfa.utils").decrypt(row.data["secret"])
        secret = base64.b32decode(text.encode("ascii"), casefold=True)
        # allauth remembers the codes that were used in the cache, where they cannot be found again.
        return FormerTotp(secret, None, tolerance=getattr(settings, "TOTP_TOLERANCE", 0))

    @staticmethod
    def _read_passkey(row: Any, user: Any) -> FormerPasskey:
        credential = row.data["credential"]
        adapter = import_module("allauth.mfa.adapter").get_adapter()
        return FormerPasskey(
            bytes(row.wrap().authenticator_data),
            # Nothing has stored the handle: it is made from the primary key, if the adapter does not say otherwise.
            bytes(memoryview(adapter.get_public_key_credential_user_entity(user)["id"])),
            credential["response"].get("transports"),
            credential.get("clientExtensionResults"),
        )


def _model(app: str) -> Any:
    """Return the models of an app, or None if it is not installed."""
    return import_module(f"{app}.models") if apps.is_installed(app) else None


SOURCES: dict[str, Source] = {"django-otp": DjangoOtp(), "allauth": Allauth()}
