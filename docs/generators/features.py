"""Generate the reference at the end of each page of a feature: endpoints, signals, events, settings and rate limits."""

from functools import cache
from typing import Any, NamedTuple

from ninja import NinjaAPI

import ninja_auth_kit
from docs.generators import settings
from docs.generators.events import anchor, kit_events, signal_of
from ninja_auth_kit import features as registry
from ninja_auth_kit.api.errors import status_of
from ninja_auth_kit.api.openapi import ALWAYS, WITH_BODY

MARK = "<!-- What follows is written by `python -m docs.generate`. -->"
# The errors that most endpoints have in common. They are listed in errors.md only.
COMMON = {(status_of(kind).value, kind.code) for kind in (*ALWAYS, *WITH_BODY) if kind.code != "validation_error"}


class Feature(NamedTuple):
    """The operations, events, settings and rate limits of a page. The page of rate limits has those of the core."""

    operations: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    throttles: tuple[str, ...] = ()


FEATURES = {
    "registration": Feature(
        ("auth_register",),
        ("user.registered", "user.registration_failed"),
        ("REGISTRATION_OPEN", "REGISTRATION_SCHEMA", "CREATE_USER", "UNVERIFIED_RETENTION"),
    ),
    "verification": Feature(
        ("auth_verify_email", "auth_resend_verification"),
        ("email.verified", "email.verification_requested", "email.verification_failed"),
        (
            "EMAIL_VERIFICATION_REQUIRED",
            "EMAIL_VERIFICATION_REQUIRES_PASSWORD",
            "EMAIL_VERIFICATION_LIFETIME",
            "BASE_URL",
            "SITE_NAME",
            "FRONTEND_URLS",
        ),
    ),
    "login": Feature(
        ("auth_login",),
        ("session.logged_in", "session.login_failed"),
        ("ACCESS_TOKEN_LIFETIME", "ACCESS_TOKEN_CLAIMS", "ISSUER", "AUDIENCE", "CLIENT_ID", "JWT_ALGORITHM"),
    ),
    "refresh": Feature(
        ("auth_refresh",),
        ("session.refreshed", "session.refresh_failed", "session.reuse_detected"),
        ("REFRESH_TOKEN_LIFETIME", "REFRESH_GRACE_PERIOD", "SESSION_LIFETIME"),
    ),
    "logout": Feature(("auth_logout", "auth_logout_all"), ("session.logged_out",)),
    "sessions": Feature(
        ("auth_list_sessions", "auth_end_session"),
        ("session.revoked",),
        ("SESSION_LIMIT", "SESSION_LIMIT_POLICY", "SESSION_LIFETIME"),
    ),
    "passwords": Feature(
        ("auth_change_password", "auth_request_password_reset", "auth_confirm_password_reset"),
        (
            "password.changed",
            "password.change_failed",
            "password.reset_requested",
            "password.reset_completed",
            "password.reset_failed",
        ),
        ("PASSWORD_RESET_LIFETIME", "USERS_SET_FIRST_PASSWORD", "BASE_URL", "SITE_NAME", "FRONTEND_URLS"),
    ),
    "email_change": Feature(
        ("auth_request_email_change", "auth_confirm_email_change"),
        ("email.change_requested", "email.changed", "email.change_failed"),
        ("EMAIL_VERIFICATION_LIFETIME", "BASE_URL", "SITE_NAME", "FRONTEND_URLS"),
    ),
    "account": Feature(
        ("auth_me", "auth_update_me", "auth_delete_me"),
        ("user.updated", "user.deleted", "user.deletion_failed"),
        ("PROFILE_SCHEMA", "USER_SCHEMA"),
    ),
    "blacklist": Feature(settings=("REFRESH_TOKEN_LIFETIME", "SESSION_LIFETIME")),
    "email-codes": Feature(
        ("auth_request_login_code", "auth_login_by_email_code", "auth_sign_up_by_email_code"),
        ("login_code.requested",),
        ('EMAIL_CODE["REGISTERS"]', "REGISTRATION_OPEN", "SITE_NAME"),
        ("code_account",),
    ),
    "cookies": Feature(settings=('COOKIES["ORIGINS"]', "BASE_URL", "REFRESH_GRACE_PERIOD")),
    "throttling": Feature((), ("request.throttled",), ("THROTTLES", "TRUSTED_PROXY_COUNT")),
    "step-up": Feature(
        ("auth_step_up_methods", "auth_step_up_by_password", "auth_step_up_by_totp", "auth_step_up_by_recovery_code"),
        ("session.stepped_up", "session.step_up_failed"),
        ("STEP_UP_MAX_AGE",),
        ("step_up_account",),
    ),
    "second-factors": Feature(
        (
            "auth_list_factors",
            "auth_rename_factor",
            "auth_remove_factor",
            "auth_renew_recovery_codes",
            "auth_login_by_recovery_code",
            "auth_list_devices",
            "auth_forget_devices",
            "auth_forget_device",
        ),
        (
            "session.factor_requested",
            "session.factor_failed",
            "factor.added",
            "factor.removed",
            "factor.reset",
            "recovery.generated",
            "recovery.used",
            "device.remembered",
            "device.forgotten",
        ),
        ('FACTORS["REMEMBER_DEVICE"]', 'FACTORS["RECOVERY_CODES"]', "STEP_UP_MAX_AGE"),
        ("factor_account",),
    ),
    "authenticator-apps": Feature(
        ("auth_enrol_totp", "auth_confirm_totp", "auth_login_by_totp"),
        (),
        ('TOTP["ISSUER_NAME"]', 'TOTP["DRIFT"]', 'TOTP["LIMIT"]'),
    ),
    "api-keys": Feature(
        ("auth_create_api_key", "auth_list_api_keys", "auth_revoke_api_key"),
        ("api_key.created", "api_key.revoked", "api_key.refused"),
        (
            'API_KEYS["SCOPES"]',
            'API_KEYS["LIFETIME"]',
            'API_KEYS["MAX_LIFETIME"]',
            'API_KEYS["LIMIT"]',
            "STEP_UP_MAX_AGE",
        ),
        ("api_key_network",),
    ),
    "providers": Feature(
        (
            "auth_list_providers",
            "auth_start_provider_flow",
            "auth_finish_provider_flow",
            "auth_finish_provider_flow_by_id_token",
            "auth_sign_up_by_provider",
            "auth_list_identities",
            "auth_unlink_identity",
        ),
        ("identity.linked", "identity.unlinked", "identity.refused"),
        (
            'OIDC["PROVIDERS"]',
            'OIDC["REDIRECT_URIS"]',
            'OIDC["REGISTERS"]',
            "REGISTRATION_OPEN",
            "STEP_UP_MAX_AGE",
            "BASE_URL",
        ),
        ("oidc_network",),
    ),
    "passkeys": Feature(
        (
            "auth_begin_passkey_registration",
            "auth_register_passkey",
            "auth_begin_passkey_login",
            "auth_login_by_passkey",
            "auth_begin_passkey_step_up",
            "auth_step_up_by_passkey",
        ),
        ("passkey.clone_suspected",),
        (
            'PASSKEYS["RP_ID"]',
            'PASSKEYS["RP_NAME"]',
            'PASSKEYS["ORIGINS"]',
            'PASSKEYS["LIMIT"]',
            'PASSKEYS["GUARDS_PASSWORD"]',
            "BASE_URL",
            "SITE_NAME",
        ),
    ),
}


def reference(feature: Feature) -> str:
    """Return the reference of a feature."""
    lines = [MARK, ""]
    if feature.operations:
        lines += [
            "## Endpoints",
            "",
            "[Errors](../errors.md) lists the errors that most endpoints have in common.",
            "",
        ]
        lines += [line for name in feature.operations for line in _operation(name)]
    if feature.events:
        lines += ["## Signals and events", "", "| signal | event | fact | description |", "|---|---|---|---|"]
        lines += [_event(name) for name in feature.events] + [""]
    if feature.settings:
        lines += ["## Settings", "", *settings.table(list(feature.settings), to="../"), ""]
    if feature.throttles:
        lines += ["## Rate limits", "", "| name | default |", "|---|---|"]
        lines += [f"| `{name}` | {_rates(name)} |" for name in feature.throttles] + [""]
    return "\n".join(lines)


def _rates(name: str) -> str:
    rates = registry.throttles()[name]
    return ", ".join(f"`{rate}`" for rate in ([rates] if isinstance(rates, str) else rates))


def _event(name: str) -> str:
    kind = {kind.name: kind for kind in kit_events()}[name]
    fact = "yes" if kind.fact else ""
    description = (kind.__doc__ or "").partition("\n")[0]
    signal = signal_of(kind).removeprefix("signals.")
    return f"| `{signal}` | [`{name}`](../events.md#{anchor(kind)}) | {fact} | {description} |"


def _operation(name: str) -> list[str]:
    path, method, operation = operations()[name]
    security = operation.get("security")
    token = "not required" if not security else "optional" if {} in security else "required"
    lines = [f"### `{method.upper()} {path}`", "", operation["description"], "", f"Access token: {token}.", ""]
    lines += _body(operation)
    lines += ["| status | response |", "|---|---|"]
    lines += [row for status, response in operation["responses"].items() for row in _response(int(status), response)]
    return [*lines, ""]


def _body(operation: dict[str, Any]) -> list[str]:
    if "requestBody" not in operation:
        return []
    schema = _resolved(operation["requestBody"]["content"]["application/json"]["schema"])
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_type(member)} | {'yes' if name in required else member.get('description', 'no')} |"
        for name, member in schema.get("properties", {}).items()
    ]
    return ["| field | type | required |", "|---|---|---|", *rows, ""] if rows else []


def _response(status: int, response: dict[str, Any]) -> list[str]:
    (content,) = response.get("content", {"": {}}).values()
    if status >= 400:
        codes = [code for code in content["examples"] if (status, code) not in COMMON]
        return [f"| {status} | {', '.join(f'`{code}`' for code in codes)} |"] if codes else []
    schema = content.get("schema", {})
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    return [f"| {status} | {'; or '.join(_shape(_resolved(kind)) for kind in kinds)} |"]


def _shape(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"a list of {_shape(_resolved(schema['items']))}"
    return ", ".join(f"`{name}`" for name in schema.get("properties", {})) or "no body"


def _type(member: dict[str, Any]) -> str:
    kinds = [kind for kind in member.get("anyOf", [member]) if kind.get("type") != "null"]
    longest = kinds[0].get("maxLength")
    return kinds[0].get("type", "any") + (f", at most {longest} characters" if longest else "")


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    found = next(one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    name = found.get("$ref", "").rpartition("/")[2]
    return _document()["components"]["schemas"][name] if name else found


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return the path, the method and the description of every operation, by its id."""
    paths = _document()["paths"]
    return {
        operation["operationId"]: (path, method, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


@cache
def _document() -> dict[str, Any]:
    api = NinjaAPI(urls_namespace="docs")
    ninja_auth_kit.install(api, "")
    return dict(api.get_openapi_schema(path_prefix=""))
