"""The app configuration of cookie mode."""

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit.contrib.cookies.origins import ORIGINS
from ninja_auth_kit.setting_rules import Setting

LABEL = "ninja_auth_kit_cookies"
FEATURE = features.Feature(
    name=LABEL,
    settings_key="COOKIES",
    settings={
        "ORIGINS": Setting(
            None,
            ORIGINS,
            "Cookie mode",
            "The origins of the pages that may use [cookie mode](features/cookies.md). With None, it is the origin of "
            "`BASE_URL`.",
        )
    },
    adapt_operation="ninja_auth_kit.contrib.cookies.transport.adapt_operation",
)


class CookiesConfig(AppConfig):
    """Cookie mode."""

    name = "ninja_auth_kit.contrib.cookies"
    label = LABEL
    verbose_name = _("Cookie mode")

    def ready(self) -> None:
        """Register the feature and its system checks."""
        from ninja_auth_kit.contrib.cookies.checks import check_cors

        checks.register(check_cors, checks.Tags.security)
        features.register(FEATURE)
