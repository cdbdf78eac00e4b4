"""The app configuration: register the feature, its events and its check."""

from datetime import datetime, timedelta

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import Setting

SETTINGS = {
    "REGISTERS": Setting(
        False,
        rules.BOOLEAN,
        "Email codes",
        "Whether a code also registers an address that has no account, if `REGISTRATION_OPEN` is on.",
    ),
}
THROTTLES = {
    # Wrong codes for one address, from anywhere and whether or not an account has it. A new code does not begin the
    # count anew (NIST SP 800-63B-4 section 3.1.3.2).
    "code_account": ("10/15m", "100/30d"),
}


class EmailCodeConfig(AppConfig):
    """Login by a code in an email."""

    name = "ninja_auth_kit.contrib.email_code"
    label = "ninja_auth_kit_email_code"
    verbose_name = _("Authentication kit: email codes")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature and its system check, and record its events."""
        from ninja_auth_kit.contrib.email_code import events
        from ninja_auth_kit.contrib.email_code.checks import check_required_fields
        from ninja_auth_kit.models.users import stored_email

        checks.register(check_required_fields, checks.Tags.models)
        events.connect()
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="EMAIL_CODE",
                settings=SETTINGS,
                throttles=THROTTLES,
                owned_models=(("LoginCode", "user"),),
                prunable=_prunable,
                has_way_in=lambda user: bool(stored_email(user)),
                senders=f"{self.name}.mailing",
            )
        )


def _prunable(now: datetime, keep: timedelta) -> list[features.Prunable]:
    from ninja_auth_kit.contrib.email_code.models import LoginCode

    return [features.Prunable(LoginCode, "expires_at", now)]
