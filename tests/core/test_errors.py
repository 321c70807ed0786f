from __future__ import annotations

import copy
import pickle
import re

import pytest

from redis_patterns_core import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_all_errors_have_one_root() -> None:
    """Whoever catches PatternsError catches all of them."""
    assert all(issubclass(one, errors.PatternsError) for one in CLASSES)


def test_the_tree_at_the_head_is_the_tree() -> None:
    """The drawing names every class, with the builtin that it is too."""
    drawn = dict(re.findall(r"[├└]── (\w+)(?: \((\w+)\))?", errors.__doc__ or ""))
    assert set(drawn) == set(errors.__all__) - {"PatternsError"}
    for name, builtin in drawn.items():
        bases = [base.__name__ for base in getattr(errors, name).__mro__]
        assert not builtin or builtin in bases


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.Unreachable("lock.acquire", "localhost:1: refused"),
            "lock.acquire: nothing was sent: localhost:1: refused",
        ),
        (
            errors.OutcomeUnknown("lock.acquire", "reset"),
            "lock.acquire: sent, but no answer came, so it may have happened: reset",
        ),
        (errors.CommandFailed("lock.acquire", "OOM", "out of memory"), "lock.acquire: OOM out of memory"),
        (errors.JobFailed("a", "ValueError: b"), "the job 'a' is dead: ValueError: b"),
        (errors.NotCounted("old", "its time is no longer kept"), "its time is no longer kept"),
        (errors.SessionGone(), "the session has ended"),
        (errors.SessionGone(replaced=True), "the session lives under another id now"),
    ],
)
def test_errors_say_what_became_of_the_plan_and_can_be_copied(error: Exception, text: str) -> None:
    """An error survives a process pool and a copy with its fields."""
    assert str(error) == text
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == text
        assert vars(again) == vars(error)
