"""The generated pages. They are those of a project that has every optional app."""

import pytest

from docs import generate
from docs.generators import features, settings, signals
from docs.generators.events import DOCS, kit_events
from ninja_auth_kit import signals as signals_of_the_core
from ninja_auth_kit.conf import BROKER_SETTINGS, SETTINGS, nested_settings
from ninja_auth_kit.features import throttles
from ninja_auth_kit.signals import ActionSignal
from tests.test_docs import (
    test_every_command_on_a_page_has_the_options_that_it_is_shown_with,
    test_the_python_on_a_page_is_python_and_what_it_imports_of_the_kit_is_there,
)

# In the other pass, they leave out what only a project with the optional apps can import.
__all__ = [
    "test_every_command_on_a_page_has_the_options_that_it_is_shown_with",
    "test_the_python_on_a_page_is_python_and_what_it_imports_of_the_kit_is_there",
]


@pytest.mark.one_user_model
def test_every_generated_page_is_fresh() -> None:
    for name, text in generate.pages().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"docs/{name} is stale. Run: python -m docs.generate"


def test_every_operation_event_signal_setting_and_rate_limit_is_on_a_page() -> None:
    on_pages = features.FEATURES.values()

    assert {name for feature in on_pages for name in feature.operations} == set(features.operations()) - {"auth_jwks"}
    assert {name for feature in on_pages for name in feature.events} == {kind.name for kind in kit_events()}
    assert {name for feature in on_pages for name in feature.throttles} == set(throttles())
    for module in (signals_of_the_core, *signals.modules().values()):
        assert set(signals.declared(module)) == {
            name for name, it in vars(module).items() if isinstance(it, ActionSignal)
        }
    settings_page = settings.page()
    nested = [settings.nested(key, name) for key, rows in nested_settings().items() for name in rows]
    assert [key for key in (*SETTINGS, *BROKER_SETTINGS, *nested) if f"| `{key}` |" not in settings_page] == []
    of_features = {key for feature in on_pages for key in feature.settings}
    assert set(nested) <= of_features


def test_the_pages_have_what_the_optional_apps_add() -> None:
    assert "`InvalidChallengeError`" in (DOCS / "errors.md").read_text(encoding="utf-8")
    assert "`E020`" in (DOCS / "checks.md").read_text(encoding="utf-8")
    assert "`factors.signals.stepped_up`" in (DOCS / "events.md").read_text(encoding="utf-8")
