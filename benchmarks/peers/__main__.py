"""Measure the contenders in one run and write docs/performance.md, .json and .svg: `make bench`."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import growth, report, rounds, sockets, starting
from benchmarks.peers.contenders import CONTENDERS
from tests.faults.database import PrivateDatabase
from tests.servers import ROOT

STATELESS = [name for name in CONTENDERS if name.endswith("-stateless")]


def main() -> None:
    """Run the benchmarks that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run two short rounds to check the code; write no files")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CONTENDERS, help="measure only these; write no files"
    )
    options = parser.parse_args()
    names = [*dict.fromkeys(["limit", "limit-stateless", *options.only])] if options.only else list(CONTENDERS)
    with tempfile.TemporaryDirectory(prefix="nak-peers-", ignore_cleanup_errors=True) as directory:
        server = PrivateDatabase(Path(directory) / "postgres")
        server.options = {"max_connections": "100"}  # flushes to disk, as in production
        try:
            server.start()
            found = measure(server, names, quick=options.quick)
        finally:
            server.remove()
    print(report.markdown(found))
    if not options.quick and not options.only:
        (ROOT / "docs" / "performance.md").write_text(report.markdown(found))
        (ROOT / "docs" / "performance.json").write_text(json.dumps(found, indent=2) + "\n")
        (ROOT / "docs" / "images" / "performance.svg").write_text(report.plot(found))


def measure(server: PrivateDatabase, names: list[str], *, quick: bool) -> dict[str, Any]:
    """Return all results."""
    turns, scale = (2, 0.2) if quick else (7, 1.0)
    found: dict[str, Any] = {"versions": report.versions(str(server.execute("SHOW server_version")[0][0]))}
    with rounds.processes(server, names, hasher="cheap") as contenders:
        found["about"] = {one.name: one.about for one in contenders}
        found["counts"] = rounds.count(contenders)
        checking = [one for one in contenders if one.name not in STATELESS]
        trusting = [one for one in contenders if one.name in {*STATELESS, "floor"}]
        for operation in rounds.OPERATIONS:
            found[operation] = rounds.measure(checking, operation, rounds=turns, scale=scale)
        found["stateless"] = rounds.measure(trusting, "get", rounds=turns, scale=scale, limit="limit-stateless")
        found["memory"] = {one.name: one.ask("memory", 0)["memory"] for one in contenders}
    with rounds.processes(server, [name for name in names if name not in STATELESS], hasher="default") as contenders:
        found["login_default"] = rounds.measure(contenders, "login", rounds=turns, scale=0.05)
    checking_names = [name for name in names if name not in STATELESS]
    found["sockets"] = sockets.measure(server, checking_names, rounds=turns)
    found["start"] = starting.measure(checking_names, database_url=server.url("postgres"), rounds=turns)
    large = growth.SMALL * 2 if quick else growth.LARGE
    return found | growth.measure(server, names, rounds=turns, large=large)


if __name__ == "__main__":
    main()
