"""The app configuration: register the feature, its events and its checks."""

from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import DAY, Setting

GROUP = "Second factors"

SETTINGS = {
    "REMEMBER_DEVICE": Setting(
        None,
        rules.duration(DAY, 365 * DAY, or_none="to remember none"),
        GROUP,
        "How long a device is remembered, on which no second factor is asked for. Its session has level 1.",
        is_duration=True,
    ),
    "RECOVERY_CODES": Setting(10, rules.integer(5, 50), GROUP, "How many recovery codes a user gets."),
}
THROTTLES = {
    # Wrong codes of an authenticator app of one user at login, from anywhere. Only a client that has the first factor
    # can cause them (NIST SP 800-63B-4 section 3.2.2).
    "factor_account": ("10/15m", "100/30d"),
    # Wrong codes of a user who is logged in, apart: a stolen access token must not close the login of its owner.
    "step_up_account": ("10/15m", "100/30d"),
}


class FactorsConfig(AppConfig):
    """Second factors: what all of them share."""

    name = "ninja_auth_kit.contrib.factors"
    label = "ninja_auth_kit_factors"
    verbose_name = _("Authentication kit: second factors")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature, and record its events."""
        from ninja_auth_kit.contrib.factors import events
        from ninja_auth_kit.contrib.factors.checks import check_kinds
        from ninja_auth_kit.contrib.factors.kinds import can_log_in
        from ninja_auth_kit.contrib.factors.models import Factor, RememberedDevice
        from ninja_auth_kit.contrib.factors.pending import ask_for_factor

        checks.register(check_kinds, checks.Tags.security)
        events.connect()
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="FACTORS",
                settings=SETTINGS,
                throttles=THROTTLES,
                owned_models=(("Factor", "user"), ("RecoveryCode", "user"), ("RememberedDevice", "user")),
                prunable=_prunable,
                gates=(ask_for_factor,),
                has_second_factor=lambda user: Factor.objects.confirmed(user).are_asked_for,
                has_way_in=lambda user: can_log_in(Factor.objects.confirmed(user).kinds),
                rewrap=_rewrap,
                locked_out=_locked_out,
                forget_devices=RememberedDevice.objects.forget,
                rebind_to_new_hash=RememberedDevice.objects.rebind_to_new_hash,
                senders=f"{self.name}.notices",
            )
        )


def _prunable(now: Any, keep: timedelta) -> list[features.Prunable]:
    from ninja_auth_kit.contrib.factors.models import Factor, RememberedDevice

    return [features.Prunable(model, "expires_at", now) for model in (Factor, RememberedDevice)]


def _locked_out() -> list[Any]:
    """Return the users of unused recovery codes that cannot be checked any more."""
    from ninja_auth_kit.contrib.factors.models import RECOVERY_LABEL, RecoveryCode
    from ninja_auth_kit.tokens.sealing import known_root

    unused = RecoveryCode.objects.filter(used_at=None)
    return [unused.exclude(known_root(RECOVERY_LABEL, column="digest")).values("user")]


def _rewrap() -> list[features.Rewrapped]:
    """Count what only its use can renew: a digest cannot be made again without the code or the token."""
    from ninja_auth_kit.contrib.factors.models import DEVICE_LABEL, RECOVERY_LABEL, RecoveryCode, RememberedDevice
    from ninja_auth_kit.tokens.sealing import current_prefix

    codes = RecoveryCode.objects.filter(used_at=None).exclude(digest__startswith=current_prefix(RECOVERY_LABEL))
    devices = RememberedDevice.objects.exclude(digest__startswith=current_prefix(DEVICE_LABEL))
    return [
        features.Rewrapped("recovery codes", 0, codes.count()),
        features.Rewrapped("remembered devices", 0, devices.count()),
    ]
