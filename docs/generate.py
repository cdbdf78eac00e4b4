"""Write the generated pages of the documentation: `python -m docs.generate`.

A test fails if they are stale.
- events.md and asyncapi.json are generated from the event classes. The introduction of events.md is
  events.intro.md. The examples are in examples.json, which a test run writes:
  `AUTHKIT_RECORD=1 pytest tests/audit/test_contract.py`.
  Those of the optional apps are in examples.features.json:
  `AUTHKIT_RECORD=1 pytest --ds=tests.settings_features tests/features/test_event_contract.py`.
- settings.md, errors.md, signals.md, checks.md and the end of each feature page are generated from
  the code.

The settings are those of a project that has every optional app.
"""

import os

import django
from django.apps import apps

from docs.generators.events import DOCS


def pages() -> dict[str, str]:
    """Return the text of each generated file, by its name."""
    from docs.generators import checks, errors, events, features, settings, signals

    references = {f"features/{name}.md": features.reference(feature) for name, feature in features.FEATURES.items()}
    return {
        **events.pages(),
        "settings.md": settings.page(),
        "errors.md": errors.page(),
        "signals.md": signals.page(),
        "checks.md": checks.page(),
        **{name: (DOCS / name).read_text().partition(features.MARK)[0] + text for name, text in references.items()},
    }


if __name__ == "__main__":
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings_features")
        django.setup()
    for name, text in pages().items():
        (DOCS / name).write_text(text)
