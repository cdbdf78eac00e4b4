"""What the audit stream costs, side by side with other ways to do it: `python -m benchmarks.audit`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
