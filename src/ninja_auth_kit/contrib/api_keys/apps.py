"""The app configuration: register the feature, its events, its checks and what a password reset does."""

from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features, signals
from ninja_auth_kit.contrib.api_keys.settings import SETTINGS

# Refused keys of one network. Keys that are accepted are not counted.
THROTTLES = {"api_key_network": "60/m"}


class ApiKeysConfig(AppConfig):
    """API keys."""

    name = "ninja_auth_kit.contrib.api_keys"
    label = "ninja_auth_kit_api_keys"
    verbose_name = _("Authentication kit: API keys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature and the system checks, and record its events."""
        from ninja_auth_kit.contrib.api_keys import events, services
        from ninja_auth_kit.contrib.api_keys.checks import check_requirements, check_settings
        from ninja_auth_kit.contrib.api_keys.models import ApiKey

        checks.register(check_requirements, checks.Tags.compatibility)
        checks.register(check_settings, checks.Tags.security)
        events.connect()
        signals.password_reset.in_transaction.connect(services.revoke_after_reset, dispatch_uid=self.label)
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="API_KEYS",
                settings=SETTINGS,
                throttles=THROTTLES,
                owned_models=(("ApiKey", "user"),),
                prunable=_prunable,
                rewrap=lambda: [ApiKey.objects.rewrap()],
                locked_out=lambda: [ApiKey.objects.of_removed_roots().values("user")],
                revocable=features.Revocable(
                    "API key",
                    holders=lambda: ApiKey.objects.order_by().values_list("user", flat=True).distinct(),
                    revoke=services.revoke_keys,
                ),
                senders=f"{self.name}.notices",
            )
        )


def _prunable(now: Any, keep: timedelta) -> list[features.Prunable]:
    from ninja_auth_kit.contrib.api_keys.models import ApiKey

    return [features.Prunable(ApiKey, "expires_at", now - keep)]
