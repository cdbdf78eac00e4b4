"""The app configuration: register the feature, its kind of factor and its checks."""

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import Setting

GROUP = "Authenticator apps"

SETTINGS = {
    "ISSUER_NAME": Setting(
        None, rules.SITE_NAME, GROUP, "The name of your site in the app. With None, it is the host of `BASE_URL`."
    ),
    "DRIFT": Setting(
        1, rules.integer(0, 2), GROUP, "How many time steps of 30 seconds a code may be early or late, each way."
    ),
    "LIMIT": Setting(3, rules.integer(1, 20), GROUP, "How many authenticator apps a user may have."),
}


class TotpConfig(AppConfig):
    """Authenticator apps."""

    name = "ninja_auth_kit.contrib.totp"
    label = "ninja_auth_kit_totp"
    verbose_name = _("Authentication kit: authenticator apps")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature and its kind of factor."""
        from ninja_auth_kit.contrib.factors import kinds
        from ninja_auth_kit.contrib.totp.checks import check_requirements
        from ninja_auth_kit.contrib.totp.models import TotpSecret

        kinds.register(kinds.Kind("totp", order=1, importer=f"{self.name}.importing.importer"))
        checks.register(check_requirements, checks.Tags.security)
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="TOTP",
                settings=SETTINGS,
                owned_models=(("TotpSecret", "factor"),),
                rewrap=lambda: [TotpSecret.objects.rewrap()],
                locked_out=lambda: [TotpSecret.objects.of_removed_roots().values("factor__user")],
            )
        )
