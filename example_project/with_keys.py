"""Run a command with the keys of the demo: `python with_keys.py COMMAND`. compose.yaml uses it."""

import os
import sys

from demo import LOCAL, own_keys

if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], {**own_keys(LOCAL / "keys.json"), **os.environ})  # noqa: S606  # no shell
