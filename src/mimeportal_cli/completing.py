"""What a shell offers for an address that is being typed: contacts, quickly or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

_OFFERED = 20
_SECONDS = 2.0  # a shell that waits longer looks as if it hung


def addresses(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Contacts whose address or name begins as what was typed, the most used first; nothing where that fails.

    For `shell_complete` of an option that takes an address. No question is asked, and nothing is written.
    """
    from click.shell_completion import CompletionItem

    from mimeportal.errors import MimeportalError
    from mimeportal.portal import Portal
    from mimeportal_cli.opening import target

    typed = incomplete.casefold()
    try:
        with context.scope(cleanup=False), Portal.to(target(), _SECONDS) as portal:
            found = portal.account.contacts(incomplete or None)
            fitting = (one for one in found if one.address.startswith(typed) or one.name.casefold().startswith(typed))
            offered = [one for one, _ in zip(fitting, range(_OFFERED), strict=False)]
    except (MimeportalError, OSError):
        return []
    return [CompletionItem(one.address, help=one.name or None) for one in offered]
