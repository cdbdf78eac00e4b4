"""The app configuration: register the feature, its kind of factor, its events and its checks."""

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit.conf import settings


class PasskeysConfig(AppConfig):
    """Passkeys."""

    name = "ninja_auth_kit.contrib.passkeys"
    label = "ninja_auth_kit_passkeys"
    verbose_name = _("Authentication kit: passkeys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature, its kind of factor and the system checks, and record its events."""
        from ninja_auth_kit.contrib.factors import kinds
        from ninja_auth_kit.contrib.passkeys import events
        from ninja_auth_kit.contrib.passkeys.checks import check_relying_party, check_requirements
        from ninja_auth_kit.contrib.passkeys.models import KIND, Passkey
        from ninja_auth_kit.contrib.passkeys.settings import SETTINGS

        checks.register(check_requirements, checks.Tags.compatibility)
        checks.register(check_relying_party, checks.Tags.security)
        events.connect()
        kinds.register(
            kinds.Kind(
                KIND,
                order=2,
                guards=lambda: settings.PASSKEYS["GUARDS_PASSWORD"],
                can_log_in=lambda factors: Passkey.objects.ways_in().filter(pk__in=factors).exists(),
                importer=f"{self.name}.importing.importer",
            ),
        )
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="PASSKEYS",
                settings=SETTINGS,
                owned_models=(("Passkey", "factor"), ("PasskeyHandle", "user")),
                rewrap=lambda: [Passkey.objects.rewrap()],
                locked_out=lambda: [Passkey.objects.of_removed_roots().values("factor__user")],
                needs_localhost=True,
            )
        )
