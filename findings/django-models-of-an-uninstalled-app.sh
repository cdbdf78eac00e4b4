#!/bin/bash
# Django 5.2.19, the models of an app that is inside the package of another app and is not in INSTALLED_APPS.
#
# Expected by most people: importing them raises the RuntimeError that says that the model class declares no explicit
# app_label and is not in an application in INSTALLED_APPS.
# Seen: Django takes each model for one of the app around it, whose name is a prefix of the module, without a warning.
# `makemigrations --check` then wants to create its table with a migration of that app.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet Django==5.2.19 2>/dev/null
cd "$folder"
mkdir -p shop/contrib/gifts
touch shop/__init__.py shop/contrib/__init__.py shop/contrib/gifts/__init__.py
cat >shop/contrib/gifts/models.py <<'PY'
from django.db import models


class Gift(models.Model):
    name = models.CharField(max_length=20)
PY
cat >check.py <<'PY'
import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["shop"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
try:
    from shop.contrib.gifts.models import Gift
except RuntimeError as error:
    sys.exit(f"The behaviour changed: {error}")
print("The model belongs to the app", repr(Gift._meta.app_label))
try:
    call_command("makemigrations", "shop", check=True, dry_run=True)
except SystemExit:
    sys.exit(0 if Gift._meta.app_label == "shop" else 1)
sys.exit("The behaviour changed: no migration is wanted.")
PY
"$folder/venv/bin/python" check.py
