"""`python -m benchmarks [NAME...] [--quick]`: ours and the floor by turns in one run, medians, ratios.

Everything is measured as shipped: durable, with the default batches. Homes lie in a temporary folder (on the disk
that TMPDIR names), removed afterwards. Real mail comes from MIMEPORTAL_CORPUS or ../shared/corpus, else it is made.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import signal
import sys

from benchmarks.lab import Lab
from benchmarks.measure import Row, table

# name -> (module, what it measures)
BENCHMARKS = {
    "startup": ("benchmarks.startup", "--version and --help, whole processes"),
    "list": ("benchmarks.listing", "holds list of 1,000 holds, a whole process"),
    "pages": ("benchmarks.pages", "the first page of 1,000 and of 1,000,000 holds"),
    "import": ("benchmarks.importing", "import of a folder of mail"),
    "search": ("benchmarks.searching", "full-text search over 200,000 messages"),
    "release": ("benchmarks.releasing", "release of 10,000 and of 100,000 held messages"),
    "send": ("benchmarks.sending", "1,000 messages through send-email, beside a Maildir"),
    "smtp": ("benchmarks.smtp", "mail taken by SMTP, beside Postfix"),
    "senders": ("benchmarks.sender_lists", "sender lists of 100,000 entries: imported, and asked"),
    "secure": ("benchmarks.secure", "the Inbox of 50,000 secure messages, and search in it"),
    "web": ("benchmarks.web", "the same Inbox as a page, log-ins a second, and a reader while passwords are guessed"),
    "reports": ("benchmarks.reports", "a release log exported, traffic of a year, a file of SIEM events"),
    "network": ("benchmarks.network", "over HTTP: a release beside one request per message, with faults, in a quota"),
    "largefiles": ("benchmarks.largefiles", "large files sent and fetched, beside nginx; peak memory of both sides"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure mimeportal beside the least that any program must do.",
        epilog="Names: " + "; ".join(f"{name} ({text})" for name, (_, text) in BENCHMARKS.items()),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to measure; default: everything")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    given = parser.parse_args()
    for name in given.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}: take one of {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the temporary folder goes then too
    with Lab(quick=given.quick) as lab:
        for name in given.names or BENCHMARKS:
            lab.tell(f"{name} ...")
            rows += importlib.import_module(BENCHMARKS[name][0]).run(lab)
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.system()}")
    print()
    print("\n".join(table(rows)))
    print()
    missed = [row.what for row in rows if row.met is False]
    if given.quick:
        print("Sizes are tiny (--quick): the figures mean nothing.")
    else:
        print("Missed: " + "; ".join(missed) if missed else "Every goal is met.")


if __name__ == "__main__":
    main()
