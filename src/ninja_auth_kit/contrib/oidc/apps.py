"""The app configuration: register the feature, its events and its checks."""

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit import features
from ninja_auth_kit.contrib.oidc.settings import SETTINGS

# What finishes a flow, from one network. It makes the server call out to a provider.
THROTTLES = {"oidc_network": "30/m"}


class OidcConfig(AppConfig):
    """Login with OpenID Connect providers and GitHub."""

    name = "ninja_auth_kit.contrib.oidc"
    label = "ninja_auth_kit_oidc"
    verbose_name = _("Authentication kit: providers")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the feature and the system checks, and record its events."""
        from ninja_auth_kit.contrib.oidc import events, identities
        from ninja_auth_kit.contrib.oidc.checks import (
            check_providers,
            check_redirect_uris,
            check_required_fields,
            check_requirements,
            check_shared_redirect_uris,
        )
        from ninja_auth_kit.contrib.oidc.models import Identity

        checks.register(check_requirements, checks.Tags.compatibility)
        checks.register(check_providers, checks.Tags.security)
        checks.register(check_redirect_uris, checks.Tags.security)
        checks.register(check_shared_redirect_uris, checks.Tags.security)
        checks.register(check_required_fields, checks.Tags.models)
        events.connect()
        features.register(
            features.Feature(
                name=self.label,
                router=f"{self.name}.api.router",
                settings_key="OIDC",
                settings=SETTINGS,
                throttles=THROTTLES,
                owned_models=(("Identity", "user"),),
                has_way_in=identities.has_way_in,
                step_up_methods=identities.step_up_methods,
                rewrap=lambda: [Identity.objects.rewrap()],
                locked_out=lambda: [Identity.objects.of_removed_roots().values("user")],
                senders=f"{self.name}.notices",
            )
        )
