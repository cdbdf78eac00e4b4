"""What gunicorn serves: the contender that the environment names, on a database that is ready for it."""

import os

from benchmarks.peers import project
from benchmarks.peers.contenders import named

_contender = named(os.environ["CONTENDER"])
project.configure(_contender, database_url=os.environ["DATABASE_URL"], hasher="cheap")
application = project.application_of(_contender)
