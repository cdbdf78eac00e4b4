"""Run a command with the keys of this demo, made at the first run: `python with_keys.py COMMAND`. For compose.yaml."""

import os
import sys

from demo import LOCAL, own_keys

if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], {**own_keys(LOCAL / "keys.json"), **os.environ})  # noqa: S606  # no shell
