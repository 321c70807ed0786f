"""Redis patterns as values, and drivers that run them.

Everything here is pure; the drivers are `redis_patterns.sync`, and their like for asyncio and trio.
"""

from redis_patterns_core import *  # noqa: F403  the front door: the core's public names and nothing else
from redis_patterns_core import __all__ as __all__
