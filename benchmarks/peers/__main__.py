"""Measure the contenders side by side, and write docs/performance.md, its figures and its plots: `make bench`.

Tables that are not measured keep the figures of their last run.
"""

import argparse
import json
import signal
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import report, results
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.rounds import progress
from benchmarks.peers.tables import TABLES, Run
from tests.faults.database import PrivateDatabase
from tests.servers import ROOT

DOCS = ROOT / "docs"


def main() -> None:
    """Measure the tables that the command line names."""
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers are stopped, as by Ctrl-C
    try:
        new, versions = measure(options)
    except KeyboardInterrupt:
        raise SystemExit("Interrupted. No file was written.") from None
    is_complete = not options.quick and not options.only
    found = results.merge(results.read(DOCS) if is_complete else {}, new, tables=options.tables, versions=versions)
    print(json.dumps(found, indent=2) if options.json else report.markdown(found))
    if is_complete:
        results.write(found, DOCS)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    default = [name for name, table in TABLES.items() if table.is_default]
    minutes = ", ".join(f"{name} {table.minutes}" for name, table in TABLES.items())
    others = [name for name in TABLES if name not in default]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--tables",
        nargs="*",
        metavar="TABLE",
        choices=TABLES,
        default=default,
        help=f"measure only these; default: all but {', '.join(others)}. Without a name, write the page again from "
        f"the stored figures. Minutes: {minutes}",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="how many times each contender has its turn; default: 7"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of the page")
    parser.add_argument("--quick", action="store_true", help="run two short rounds to check the code; write no files")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CONTENDERS, help="measure only these; write no files"
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    return options


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the results of the tables, and the versions of the software."""
    if not options.tables:
        return {"about": report.about()}, {}
    names = [*dict.fromkeys(["limit", "limit-stateless", *options.only])] if options.only else list(CONTENDERS)
    found: dict[str, Any] = {"about": report.about()}
    with tempfile.TemporaryDirectory(prefix="nak-peers-", ignore_cleanup_errors=True) as directory:
        server = PrivateDatabase(Path(directory) / "postgres")
        server.options = {"max_connections": "400"}  # flushes to disk, as in production
        try:
            server.start()
            versions = report.versions(str(server.execute("SHOW server_version")[0][0]))
            run = Run(server, names, options.rounds, options.quick)
            for number, table in enumerate(options.tables, 1):
                progress(f"[{number}/{len(options.tables)}] {table}, about {TABLES[table].minutes} minutes")
                found |= TABLES[table].measure(run)
        finally:
            server.remove()
    return found, versions


if __name__ == "__main__":
    main()
