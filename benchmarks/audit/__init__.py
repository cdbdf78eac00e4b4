"""Benchmarks of the audit stream beside alternative designs: `python -m benchmarks.audit`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
