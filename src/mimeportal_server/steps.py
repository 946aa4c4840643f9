"""Named steps of every act that must survive a kill, so that tests can end the process at each of them."""

from __future__ import annotations

from collections.abc import Callable

# Set by tests only; called with the name of the step that has just been reached.
hook: Callable[[str], None] | None = None


def reached(step: str) -> None:
    """Mark a step, such as `delivery.renamed`."""
    if hook is not None:
        hook(step)
