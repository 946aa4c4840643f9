"""How acts on several secure messages are planned and carried out: mark, delete, restore, recall, expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mimeportal import limits
from mimeportal.bulk import Plan
from mimeportal.errors import UsageError
from mimeportal.holds.hold import checked_id
from mimeportal.report import DESCRIBED, Context, Verdict, retry_selection
from mimeportal.secure import contract
from mimeportal.secure.message import SecureFilter, SecureMessage, described
from mimeportal.selection import Item, collect
from mimeportal.transport import Session
from mimeportal.wire import Endpoint

if TYPE_CHECKING:
    from mimeportal.portal import Portal

Verb = Literal["mark", "delete", "restore", "recall", "expire"]
VERBS: Mapping[str, Endpoint[Any, Any]] = {
    "mark": contract.MARK,
    "delete": contract.DELETE,
    "restore": contract.RESTORE,
    "recall": contract.RECALL,
    "expire": contract.EXPIRE,
}


def plan(
    portal: Portal,
    verb: str,
    *,
    ids: Iterable[str | SecureMessage | Mapping[str, Any]] | None,
    filter: SecureFilter | None,
    retry_from: Path | None,
    limit: int | None,
    options: Mapping[str, Any],
) -> Plan:
    """Freeze a selection for one verb; see `SecureClient.plan`."""
    if verb not in VERBS:
        raise UsageError(f"There is no act {verb!r}.", remedy=f"Use one of: {', '.join(VERBS)}.")
    portal.session.require(VERBS[verb], f"secure {verb}")
    given = _checked(verb, options, recorded=retry_from is not None)
    context = Context(profile=portal.profile, account=portal.account.code, actor=portal.user or "app")
    if retry_from is not None:
        selection = retry_selection(retry_from, actions=frozenset({verb}), context=context)
    elif ids is not None:
        selection = collect(_by_id(portal, iter(ids), verb, given))
    else:
        selection = collect(_item(message, verb, given) for message in portal.secure.list(filter))
    if limit is not None:
        selection.keep_oldest(limit)
    return Plan(selection, SecureWorker(portal.session), context)


def _checked(verb: str, options: Mapping[str, Any], *, recorded: bool) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    wanted = {"read"} if verb == "mark" and not recorded else set()
    if set(given) != wanted:
        raise UsageError(
            "mark takes read=True or read=False." if wanted else f"{verb} takes no {', '.join(set(given) - wanted)}."
        )
    if "read" in given and not isinstance(given["read"], bool):
        raise UsageError(f"read takes True or False, not {given['read']!r}.")
    return given


def _by_id(portal: Portal, wanted: Iterator[Any], verb: str, options: Mapping[str, Any]) -> Iterator[Item]:
    while chunk := list(islice(wanted, limits.LOCAL_BATCH)):
        bare = [checked_id(entry) for entry in chunk if isinstance(entry, str)]
        found = {message.id: message for message in portal.secure.lookup(bare)} if bare else {}
        for entry in chunk:
            if isinstance(entry, SecureMessage):
                yield _item(entry, verb, options)
            elif isinstance(entry, str):
                message = found.get(entry)
                yield _item(message, verb, options) if message else Item(entry, verb, options)
            else:
                yield _recorded(entry, verb, options)


def _recorded(entry: object, verb: str, options: Mapping[str, Any]) -> Item:
    """A line of a list, or of a plan or report, which brings its options along."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"Neither an id nor a message: {entry!r}.", remedy="Take ids or messages from a list.")
    if entry.get("action") not in (None, verb):
        raise UsageError(f"The plan says {entry['action']}, this is {verb}.", remedy=f"Plan {entry['action']} with it.")
    recorded = entry.get("options")
    if entry.get("action") and isinstance(recorded, Mapping) and dict(recorded) != dict(options):
        raise UsageError("The plan has options of its own, and these differ.", remedy="Name the same, or plan anew.")
    return Item(checked_id(entry.get("id")), verb, options, {name: entry.get(name) for name in DESCRIBED})


def _item(message: SecureMessage, verb: str, options: Mapping[str, Any]) -> Item:
    return Item(message.id, verb, options, described(message))


class SecureWorker:
    """Acts through one operation per verb; each may be repeated, and says then that it stood so already."""

    batch_size = limits.LOCAL_BATCH
    looks_at_end = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def act(self, items: Sequence[Item]) -> list[Verdict | None]:
        endpoint = VERBS[items[0].action]
        answer = self._session.call(endpoint, [endpoint.item(id=item.id, **item.options) for item in items])
        verdicts: dict[str, Verdict] = {}
        for failure in answer.failures:
            id = failure.key.get("id") if isinstance(failure.key, dict) else None
            if isinstance(id, str):
                verdicts[id] = Verdict("failed", failure.code, failure.message, answer.request_id)
        for row in answer.rows:
            by = f"By {row.by or 'the caller'} at {row.when}." if row.when else None
            verdicts[row.id] = Verdict(row.outcome, error=by, request_id=answer.request_id)
        return [verdicts.get(item.id) for item in items]

    def look(self, items: Sequence[Item]) -> list[Verdict | None]:
        return [None for _ in items]  # whatever became of them, the act may be done again

    def again(self, item: Item) -> Item:
        return item
