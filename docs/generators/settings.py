"""settings.md: every setting, from the table in `ninja_auth_kit.conf` and from those of the optional apps."""

from datetime import timedelta

from ninja_auth_kit.conf import BROKER_SETTINGS, DEFAULT_THROTTLES, SETTINGS, Setting, nested_settings
from ninja_auth_kit.setting_rules import spoken

INTRODUCTION = """\
# Settings

The key and the broker are plain Django settings; the key can also be in the dict.
All other settings are keys of one dict, `NINJA_AUTH_KIT`.
Settings are read each time they are used, so `override_settings` works.
The kit never reads the environment.
Annotate the dict, and your editor completes and checks the keys:

```python
from ninja_auth_kit.conf import AuthKitSettings

NINJA_AUTH_KIT: AuthKitSettings = {"BASE_URL": "https://example.com"}
```

`manage.py check` [reports](checks.md) an unknown key, with the key that you probably meant, and an invalid value.

## Plain settings

| setting | default | must be | meaning |
|---|---|---|---|
| `JWT_SECRET_KEY` | required | at least 32 random bytes, and not the `SECRET_KEY` | The root secret. Generate the first one, without \
which the project does not start, with `python -c "import secrets; print(secrets.token_urlsafe(64))"`. To change it, follow \
`manage.py authkit_keys rotate --alg HS256`. If another package reads this setting, too, use the key of the same name \
in the dict below, which wins. |
"""
DICT = """
## NINJA_AUTH_KIT

A duration is a `timedelta`, or a number of seconds as an int.
"""
NESTED = """
## Dicts of features

An app of `ninja_auth_kit.contrib` has a dict of its own in `NINJA_AUTH_KIT`, such as `"COOKIES": {"ORIGINS": ["https://app.example.com"]}`.
A key that is left out has its default.
Without the app in `INSTALLED_APPS`, its dict is an unknown key.
"""
HEADER = ["| key | default | must be | meaning |", "|---|---|---|---|"]


def page() -> str:
    """Return the page."""
    plain = [_row(name, setting, to="") for name, setting in BROKER_SETTINGS.items()]
    groups = dict.fromkeys(setting.group for setting in SETTINGS.values())
    parts = [
        f"\n### {group}\n\n" + "\n".join(table([key for key in SETTINGS if SETTINGS[key].group == group], to=""))
        for group in groups
    ]
    parts += [
        f"\n### {next(iter(rows.values())).group}\n\n"
        f"These are keys of the dict `{key}` in `NINJA_AUTH_KIT`; the app must be in `INSTALLED_APPS`.\n\n"
        + "\n".join(table([nested(key, name) for name in rows], to=""))
        for key, rows in nested_settings().items()
    ]
    return INTRODUCTION + "\n".join(plain) + "\n" + DICT + "\n".join(parts) + "\n"


def table(keys: list[str], *, to: str) -> list[str]:
    """Return the rows of some keys; `to` is put before links to other pages."""
    known = all_settings()
    return [*HEADER, *(_row(key, known[key], to=to) for key in keys)]


def all_settings() -> dict[str, Setting]:
    """Return every key of `NINJA_AUTH_KIT`, and those of the dicts of optional apps as `FACTORS["RECOVERY_CODES"]`."""
    optional = {nested(key, name): row for key, rows in nested_settings().items() for name, row in rows.items()}
    return {**SETTINGS, **optional}


def nested(key: str, name: str) -> str:
    """Return the name of a key of the dict of an optional app."""
    return f'{key}["{name}"]'


def _row(name: str, setting: Setting, *, to: str) -> str:
    help_text = setting.help.replace("](", f"]({to}")
    return f"| `{name}` | {_default(setting)} | {setting.rule.text} | {help_text} |"


def _default(setting: Setting) -> str:
    if setting.default is DEFAULT_THROTTLES:
        return "`DEFAULT_THROTTLES`"
    return spoken(setting.default) if isinstance(setting.default, timedelta) else f"`{setting.default!r}`"
