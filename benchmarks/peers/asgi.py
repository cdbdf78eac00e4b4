"""The ASGI application for uvicorn and granian: the contender in CONTENDER, on a migrated database."""

import os
from importlib import import_module
from typing import Any

from benchmarks.peers import project
from benchmarks.peers.contender import Contender
from benchmarks.peers.contenders import module_of, named

# allauth imports this during its first requests. If two threads do so at once, their requests fail.
import_module("cryptography.hazmat.primitives.serialization")
import_module("cryptography.hazmat.primitives.ciphers")


def _application(name: str, database_url: str, *, has_pool: bool) -> Any:
    contender: Any = named(name)
    if hasattr(module_of(name), "start"):
        from benchmarks.peers.contenders.fastapi_project import make

        return make(contender.strategy, database_url, "cheap", lambda **_: None)[0]
    return _of_django(contender, database_url, {"OPTIONS": {"pool": True}} if has_pool else {})


def _of_django(contender: Contender, database_url: str, database: dict[str, Any]) -> Any:
    from django.core.asgi import get_asgi_application

    # As the documentation of Django says: no persistent connections under ASGI.
    project.configure(contender, database_url=database_url, hasher="cheap", CONN_MAX_AGE=0, **database)
    project.set_urls(contender)
    return get_asgi_application()


application = _application(os.environ["CONTENDER"], os.environ["DATABASE_URL"], has_pool=bool(os.environ.get("POOL")))
