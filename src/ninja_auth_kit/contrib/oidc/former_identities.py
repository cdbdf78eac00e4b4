"""The identities of other packages, as `authkit_identities import` reads them.

A source reads the models of a package that is installed in your project, one batch of users after the other. It
changes nothing. An identity can only be transferred if the other package has stored the subject: the id that the
provider never gives to another user. Some packages store an email address or another id in its place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet, TextChoices

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.contrib.oidc.claims import usable_email

BATCH = 200  # users; a login of one of them may have to wait until the batch is committed

_GITHUB = "https://github.com"
_GOOGLE = "https://accounts.google.com"
_APPLE = "https://appleid.apple.com"
_MICROSOFT = "https://login.microsoftonline.com"


class Outcome(TextChoices):
    """The identity was imported, or the reason why it was not. Each reason follows a colon."""

    DONE = "done", "imported"
    KNOWN = "known", "the user has it already, or has unlinked it since it was imported"
    NOT_SUBJECT = "not_subject", "its uid is not the subject at the provider, but an email address or another id"
    NEVER_SUBJECT = "never_subject", "its uid is the id of the Graph API, which no ID token has as its subject"
    NO_APP = "no_app", "the settings of the other package have no app of this name any more: add it until the import"
    NO_PROVIDER = "no_provider", "its issuer is unknown, or is that of no provider of OIDC['PROVIDERS']"
    OTHER_ISSUER = "other_issuer", "the provider of OIDC['PROVIDERS'] has another issuer, or accepts another tenant"
    LINKED = "linked", "it is linked to another user"
    SECOND = "second", "the user has another identity of the same issuer"
    NO_USER = "no_user", "the user does not exist"
    DISABLED = "disabled", "the user is disabled"
    PENDING = "pending", "the user is a registration that waits for its owner"


class RefusedError(Exception):
    """An identity cannot be imported. The argument is an `Outcome`."""

    @property
    def outcome(self) -> Outcome:
        """Return the reason."""
        return Outcome(self.args[0])


@dataclass(frozen=True)
class FormerIdentity:
    """A row of another package.

    Attributes:
        user_id: the primary key of its owner.
        name: its model and its primary key, such as "socialaccount.socialaccount 12".
        provider: what the other package calls the provider.
        subject: the id of the user at the provider, or None if the package has not stored it.
        issuer: the issuer of the provider, or None if the package does not know it.
        email: the email address, for show, or "".
        refusal: why no row of the provider can be imported, or None.
    """

    user_id: Any
    name: str
    provider: str
    subject: str | None = field(repr=False)
    issuer: str | None
    email: str = field(repr=False)
    refusal: Outcome | None = None


@dataclass(frozen=True)
class FormerProvider:
    """A provider of another package.

    Attributes:
        issuer: its issuer, or None if the package does not know it.
        is_subject: takes the uid of a row and what it is, and returns whether it is the subject.
        refusal: why no row of the provider can be imported, or None.
    """

    issuer: str | None
    is_subject: Callable[[str, str], bool]
    refusal: Outcome | None = None


class Source(ABC):
    """A package whose identities can be imported.

    Attributes:
        app: the app that must be in INSTALLED_APPS, whose model is read.
        label: its label.
        model: the name of the model.
    """

    app: str
    label: str
    model: str

    @property
    def is_installed(self) -> bool:
        """Whether the model can be read."""
        return apps.is_installed(self.app)

    def batches(self) -> Iterator[list[FormerIdentity]]:
        """Read all identities. Each list has all rows of its users."""
        model = apps.get_model(self.label, self.model)
        rows: QuerySet[Any] = model._base_manager.using(accounts_database())
        after = rows.order_by("user_id")
        names = [name for name in ("pk", "user_id", "provider", "uid", "id_key", "extra_data") if _has(model, name)]
        provider_of = cache(self.provider_of)
        while keys := list(after.values_list("user_id", flat=True).distinct()[:BATCH]):
            found = rows.filter(user_id__in=keys).order_by("user_id", "pk").values(*names)
            yield [_former(row, provider_of(row["provider"]), model) for row in found]
            after = rows.filter(user_id__gt=keys[-1]).order_by("user_id")

    @abstractmethod
    def provider_of(self, name: str) -> FormerProvider:
        """Return a provider by the name that the package has for it."""


def _former(row: Mapping[str, Any], provider: FormerProvider, model: Any) -> FormerIdentity:
    return FormerIdentity(
        row["user_id"],
        f"{model._meta.label_lower} {row['pk']}",
        row["provider"],
        row["uid"] if provider.is_subject(row["uid"], row.get("id_key", "")) else None,
        provider.issuer,
        _email_in(row["extra_data"]),
        provider.refusal,
    )


def _has(model: Any, name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return name in {"pk", "user_id"}
    return True


def _email_in(data: Any) -> str:
    """Return the email address in what a package has stored of a user."""
    found = data if isinstance(data, dict) else {}
    claims = [found, found.get("userinfo"), found.get("id_token")]
    emails = [usable_email(one.get("email")) for one in claims if isinstance(one, dict)]
    return next(filter(None, emails), "")


def _is_number(uid: str, _: str = "") -> bool:
    return uid.isascii() and uid.isdecimal()


def _always(uid: str, key: str) -> bool:
    return True


def _never(uid: str, key: str) -> bool:
    return False


class Allauth(Source):
    """The social accounts of `allauth.socialaccount`.

    Its uid is the subject for Apple, Google and OpenID Connect, and the id of the API for GitHub. For Microsoft it is
    the id in the Graph API, which no ID token names as the subject.
    """

    app, label, model = "allauth.socialaccount", "socialaccount", "SocialAccount"

    def provider_of(self, name: str) -> FormerProvider:
        """Return a provider."""
        app = self._openid_app(name)
        is_known = name in {"apple", "github", "google"}
        if app is None:
            return self._known_provider(name) if is_known else FormerProvider(None, _never, self._refusal(name))
        if is_known and apps.is_installed(f"allauth.socialaccount.providers.{name}"):
            return FormerProvider(None, _never)  # a row does not tell which of the two it is of
        return self._openid_provider(app)

    def _refusal(self, name: str) -> Outcome:
        """Return why the rows of a provider cannot be imported: one that is not known, and no app names it."""
        if name == "microsoft":
            return Outcome.NEVER_SUBJECT
        # The name of a package of allauth, such as "facebook". That of an app for OpenID Connect is in no package.
        is_package = name.isidentifier() and find_spec(f"allauth.socialaccount.providers.{name}") is not None
        return Outcome.NO_PROVIDER if is_package else Outcome.NO_APP

    def _known_provider(self, name: str) -> FormerProvider:
        if name == "github":
            site = str(_configured("github").get("GITHUB_URL", _GITHUB)).rstrip("/")
            return FormerProvider(f"{site}/login/oauth", _is_number)
        if name == "google":
            return FormerProvider(_GOOGLE, _is_number)
        return FormerProvider(_APPLE, _always)

    def _openid_provider(self, app: Mapping[str, Any]) -> FormerProvider:
        server = app.get("server_url")
        issuer = server.partition("/.well-known/")[0] if isinstance(server, str) and server else None
        return FormerProvider(issuer, _always if app.get("uid_field", "sub") == "sub" else _never)

    def _openid_app(self, name: str) -> Mapping[str, Any] | None:
        """Return the settings of an app for OpenID Connect: those of the settings win, as in allauth."""
        configured = _configured("openid_connect")
        for app in [*configured.get("APPS", []), configured.get("APP") or {}]:
            if app.get("provider_id") == name:
                found: Mapping[str, Any] = app.get("settings") or {}
                return found
        model = apps.get_model(self.label, "SocialApp")
        rows = model._base_manager.using(accounts_database()).filter(provider="openid_connect", provider_id=name)
        row = rows.first()
        return None if row is None else row.settings


def _configured(provider: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(django_settings, "SOCIALACCOUNT_PROVIDERS", {}).get(provider, {})
    return found


class SocialAuth(Source):
    """The associations of python-social-auth, in `social_django`.

    Which member of the answer the uid is depends on the version and on settings. Rows of version 6 and later name it
    in `id_key`. Before, Google's was the email address, unless SOCIAL_AUTH_GOOGLE_OAUTH2_USE_UNIQUE_USER_ID was on.
    """

    app, label, model = "social_django", "social_django", "UserSocialAuth"

    def provider_of(self, name: str) -> FormerProvider:
        """Return a provider."""
        if name in {"google-oauth2", "google-openidconnect", "google-onetap"}:
            # The migration to version 6 says "email" of each row, so the uid itself is looked at.
            return FormerProvider(_GOOGLE, _is_number)
        if name in {"github", "github-org", "github-team"}:
            is_id = self._setting(name, "ID_KEY") in {None, "", "id"}  # a login name may consist of digits, too
            return FormerProvider(
                f"{_GITHUB}/login/oauth", lambda uid, key: (key == "id" or (key == "" and is_id)) and _is_number(uid)
            )
        has_default = name in {"apple-id", "oidc"} and self._setting(name, "ID_KEY") in {None, "", "sub"}
        return FormerProvider(self._issuer_of(name), lambda uid, key: key == "sub" or (key == "" and has_default))

    def _issuer_of(self, name: str) -> str | None:
        if name == "apple-id":
            return _APPLE
        if name == "azuread-v2-tenant-oauth2":
            tenant = self._setting(name, "TENANT_ID")
            return f"{_MICROSOFT}/{tenant}/v2.0" if tenant else None
        endpoint = self._setting(name, "OIDC_ENDPOINT")
        return str(endpoint).rstrip("/") if endpoint else None

    @staticmethod
    def _setting(provider: str, name: str) -> Any:
        prefix = provider.upper().replace("-", "_")
        return getattr(django_settings, f"SOCIAL_AUTH_{prefix}_{name}", None)


SOURCES: dict[str, Source] = {"allauth": Allauth(), "social-auth": SocialAuth()}
