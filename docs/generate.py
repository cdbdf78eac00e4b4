"""Write what is generated of the docs: `python -m docs.generate`. A test fails where they are stale.

events.md and asyncapi.json come from the event classes, the words before them from events.intro.md, and the examples in both,
examples.json, from a test run: `AUTHKIT_RECORD=1 pytest tests/audit/test_contract.py`. settings.md, errors.md, signals.md, checks.md
and the end of each page of a feature come from the code of these.
"""

import os

import django
from django.apps import apps

from docs.generators.events import DOCS


def pages() -> dict[str, str]:
    """Return what stands in each generated file, by its name."""
    from docs.generators import checks, errors, events, features, settings, signals

    ends = {f"features/{name}.md": features.reference(feature) for name, feature in features.FEATURES.items()}
    return {
        **events.pages(),
        "settings.md": settings.page(),
        "errors.md": errors.page(),
        "signals.md": signals.page(),
        "checks.md": checks.page(),
        **{name: (DOCS / name).read_text().partition(features.MARK)[0] + end for name, end in ends.items()},
    }


if __name__ == "__main__":
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
        django.setup()
    for name, text in pages().items():
        (DOCS / name).write_text(text)
