"""The WSGI application for gunicorn: the contender in CONTENDER, on a migrated database."""

import os

from benchmarks.peers import project
from benchmarks.peers.contenders import named

_contender = named(os.environ["CONTENDER"])
project.configure(_contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
application = project.application_of(_contender)
