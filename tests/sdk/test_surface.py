"""What a developer holds in their hands: exceptions, models, names, signatures, log lines."""

from __future__ import annotations

import pickle
import pkgutil
import re
from importlib import import_module

import pytest

import mimeportal
from mimeportal import errors
from mimeportal.errors import ApiError, LostAnswerError, MimeportalError, RateLimitedError, api_error

# -- exceptions ------------------------------------------------------------------------------------------------


def drawn() -> dict[str, str]:
    """Each exception of the drawing, with the one that it hangs on."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        above = [entry for entry in above if entry[0] < depth]
        parents[name] = above[-1][1] if above else "Exception"
        above.append((depth, name))
    return parents


def modules() -> list[str]:
    return [found.name for found in pkgutil.walk_packages(mimeportal.__path__, "mimeportal.")]


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_the_tree_is_drawn_as_it_is() -> None:
    for name in modules():
        import_module(name)
    ours = {kind for kind in subclasses(MimeportalError) if kind.__module__.startswith("mimeportal")}
    assert drawn() == {kind.__name__: kind.__base__.__name__ for kind in ours if kind.__base__}


@pytest.mark.parametrize("name", sorted(drawn()))
def test_an_exception_travels_between_processes(name: str) -> None:
    error = getattr(mimeportal, name)("It failed.", why="So it is.", remedy="Try again.")
    error.noted = 1
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == ("It failed.", vars(error))
    assert copy.__doc__


def test_an_error_of_a_portal_travels_whole() -> None:
    error = api_error("err_x", "No.", status=429, request_id="r-1", field="to", key={"id": "i"}, retryable=True)
    assert isinstance(error, RateLimitedError)
    error.retry_after = 7.5
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.status, copy.request_id, copy.field, copy.key, copy.retryable, copy.retry_after) == (
        "err_x", 429, "r-1", "to", {"id": "i"}, True, 7.5,
    )  # fmt: skip
    assert issubclass(LostAnswerError, ApiError)
