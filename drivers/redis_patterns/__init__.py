"""Redis patterns as values, and drivers that run them.

Everything here is pure; the drivers are `redis_patterns.sync`, and their like for asyncio and trio.
"""

from typing import TYPE_CHECKING

from redis_patterns_core import HOMES
from redis_patterns_core import __all__ as __all__
from redis_patterns_core.front import front

# The front door: the core's public names and nothing else.
if TYPE_CHECKING:
    from redis_patterns_core import *  # noqa: F403
else:
    __getattr__, __dir__ = front(globals(), HOMES)
