"""A process that takes a lock again and again and writes down when it had it; see test_killed_holders."""

from __future__ import annotations

import os
import sys
import time

from redis_patterns import Lock, LockLost, LockNotAcquired, OutcomeUnknown, Unreachable
from redis_patterns.sync import Driver

TTL = 0.6


def main(url: str, name: str, path: str, rounds: int) -> None:
    """Take the lock so many times, and write a line when the work under it begins and one when it ends."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND)

    def say(what: str, fence: int) -> None:
        # One write, so that lines of several processes stand one after the other.
        os.write(log, f"{what} {fence} {os.getpid()} {time.monotonic():.6f}\n".encode())

    with Driver.connect(url) as redis:
        done = 0
        while done < rounds:
            try:
                with redis.hold(Lock(name, ttl=TTL), wait=60) as held:
                    held.check()
                    say("begin", held.lease.fence)
                    time.sleep(0.001)
                    held.check()
                    say("end", held.lease.fence)
                    done += 1
            except (LockLost, LockNotAcquired, OutcomeUnknown, Unreachable) as error:
                say(f"failed:{type(error).__name__}", 0)
        say("done", 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
