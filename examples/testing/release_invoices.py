"""Release the invoices of suppliers that we know, and leave everything else held. Made to be run by cron.

    python release_invoices.py

Which portal, and how to log in, is taken from the environment or from the current profile of `mimeportal`.
"""

from __future__ import annotations

import sys

from mimeportal import BulkResult, Hold, Portal

SUPPLIERS = {"billing@supplier.example", "accounts@carrier.example"}


def is_invoice(hold: Hold) -> bool:
    """Held as spam, from a supplier, and called an invoice: what holds a program or a forgery is left alone."""
    return hold.from_header in SUPPLIERS and "spam" in hold.reason_code and "invoice" in hold.subject.lower()


def release_invoices(portal: Portal) -> BulkResult:
    return portal.holds.release(hold for hold in portal.holds.list() if is_invoice(hold))


def main() -> int:
    with Portal.open() as portal:
        result = release_invoices(portal)
    print(f"{result.totals['done']} invoices released.")
    for problem in result.problems:
        print(problem.subject, problem.verdict.error, file=sys.stderr)
    return 0 if result.clean else 1


if __name__ == "__main__":
    sys.exit(main())
