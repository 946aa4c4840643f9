"""Release held mail by a rule that no option can say: what several colleagues were sent, and is not spam.

    python release_by_rule.py [--yes]

MIMEPORTAL_URL and MIMEPORTAL_USER say where, and whose queue; without --yes the plan is printed and nothing is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mimeportal import Hold, Portal

TRUSTED = ("partner.example", "supplier.example", "gardening.example")


def wanted(portal: Portal) -> Iterator[Hold]:
    """Mail of partners that no attachment rule holds."""
    for hold in portal.holds.list():
        sender = hold.from_header.rpartition("@")[2]
        if sender in TRUSTED and "attachment" not in hold.reason_code:
            yield hold


def main(arguments: list[str]) -> int:
    with Portal.open() as portal, portal.holds.plan("release", ids=wanted(portal)) as plan:
        for line in plan.lines():
            print(line["from_header"], "|", line["subject"])
        if "--yes" not in arguments:
            print(f"{len(plan)} messages would be released; add --yes to do it.")
            return 0
        result = plan.run()
    print(dict(result.totals))
    return 0 if result.clean else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
