"""Settings of a test server: those of the test run, changed by environment variables."""

import importlib
import json
import os

for _name, _value in vars(importlib.import_module(os.environ["TEST_SETTINGS"])).items():
    if _name.isupper():
        globals()[_name] = _value

INSTALLED_APPS = [app for app in globals()["INSTALLED_APPS"] if app != os.environ.get("TEST_WITHOUT_APP")]
NINJA_AUTH_KIT = {**globals()["NINJA_AUTH_KIT"], **json.loads(os.environ.get("TEST_KIT", "{}"))}
RABBITMQ_HOST = os.environ.get("TEST_RABBITMQ_HOST")
RABBITMQ_PORT = os.environ.get("TEST_RABBITMQ_PORT")
RABBITMQ_USER = os.environ.get("TEST_RABBITMQ_USER")
RABBITMQ_PASSWORD = os.environ.get("TEST_RABBITMQ_PASSWORD")
RABBITMQ_VHOST = os.environ.get("TEST_RABBITMQ_VHOST")
if "TEST_JWT_SECRET_KEY" in os.environ:
    JWT_SECRET_KEY = os.environ["TEST_JWT_SECRET_KEY"]
if "TEST_HASHER" in os.environ:
    PASSWORD_HASHERS = [os.environ["TEST_HASHER"]]
globals()["DATABASES"]["default"] |= json.loads(os.environ.get("TEST_DATABASE", "{}"))
