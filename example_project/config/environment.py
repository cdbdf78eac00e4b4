"""Read environment variables, for the settings and for the programs that run before them."""

import os
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

YES = frozenset({"1", "true", "yes", "on"})


def required(name: str) -> str:
    """Return an environment variable, or raise ImproperlyConfigured if it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment, or run the project with `make demo`.")
    return value


def is_on(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a variable is 1, true, yes or on, in any case."""
    return environment.get(name, "").strip().lower() in YES
