"""Run a management command with a wrong clock: `python -m tests.faults.clock 600 authkit_relay`."""

import sys
import time

import time_machine
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    time_machine.travel(time.time() + float(sys.argv.pop(1)), tick=True).start()
    execute_from_command_line(sys.argv)
