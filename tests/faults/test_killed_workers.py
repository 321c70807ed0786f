"""Four workers and many jobs, with kill -9, lost connections, and a server that is killed in the middle.

python -m tests.faults.test_killed_workers 100000
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import redis_patterns
import redis_patterns_core
import tests
from redis_patterns import OutcomeUnknown, Unreachable
from redis_patterns.sync import Driver
from redis_patterns.testing import server
from tests.drivers.plans import once
from tests.faults.job_worker import LEASE, queue_of

PROCESSES = 4
KEPT = {"appendonly": "yes", "appendfsync": "always"}


def siege(count: int, kills: int, folder: Path, *, seconds: float) -> str:
    """Have so many jobs done, with so many workers killed on the way; tell what was doubled.

    Raises:
        AssertionError: a job was lost, one was doubled without a lease that had ended, or somebody hangs.
    """
    path, over = folder / "log", folder / "over"
    path.touch()
    packages = [str(Path(one.__path__[0]).parent) for one in (redis_patterns, redis_patterns_core, tests)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
    chance, running, killed = random.Random(9), list[subprocess.Popen[bytes]](), 0
    jobs = queue_of("siege")
    with server(config=KEPT) as redis_server:

        def start() -> None:
            words = [redis_server.url, "siege", str(path), str(over)]
            running.append(subprocess.Popen([sys.executable, "-m", "tests.faults.job_worker", *words], env=env))

        ends_at, restarted = time.monotonic() + seconds, False
        try:
            for _ in range(PROCESSES):
                start()
            with Driver.connect(redis_server.url, retry_for=20) as redis:
                for begin in range(0, count, 500):
                    end = min(count, begin + 500)
                    # By ids of our own: what is put again, as no answer came, is put once.
                    put = jobs.enqueue_many(range(begin, end), ids=[str(number) for number in range(begin, end)])
                    redis.run(put)
                while True:
                    assert time.monotonic() < ends_at, redis.run(jobs.inspect())
                    time.sleep(chance.uniform(0.02, 0.15))
                    done = redis.run(jobs.inspect()).totals.get("acked", 0)
                    if done == count:
                        break
                    alive = [process for process in running if process.poll() is None]
                    # Spread over all of it, so that some are killed at every stage.
                    if killed < kills and done > killed * count / (kills + 1) and alive:
                        victim = chance.choice(alive)
                        victim.send_signal(signal.SIGKILL)
                        victim.wait()
                        killed += 1
                        start()
                    if not restarted and done > count / 2:
                        redis_server.kill()
                        redis_server.restart()
                        restarted = True
                    if chance.random() < 0.2:
                        try:
                            redis.run(once("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
                        except (OutcomeUnknown, Unreachable):
                            continue
                counts = redis.run(jobs.inspect())
            over.touch()
            for process in running:
                process.wait(30)
        finally:
            for process in running:
                process.kill()
                process.wait()
    assert restarted
    assert (counts.ready, counts.delayed, counts.leased, counts.dead) == (0, 0, 0, 0)
    assert counts.totals["enqueued"] == count
    assert counts.totals.get("orphans", 0) == 0
    return judge(path, count, killed)


def judge(path: Path, count: int, killed: int) -> str:
    """Read what the workers have written."""
    begun: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    ended: set[int] = set()
    for line in path.read_text().splitlines():
        what, payload, fence, _, moment = line.split()
        if what == "begin":
            begun[int(payload)].append((int(fence), float(moment)))
        else:
            ended.add(int(payload))
    assert ended == set(range(count)), "a job was lost"
    doubled = {payload: runs for payload, runs in begun.items() if len(runs) > 1}
    for runs in doubled.values():
        runs.sort()
        assert len({fence for fence, _ in runs}) == len(runs), "two had one fence"
        for (_, before), (_, after) in itertools.pairwise(runs):
            assert after - before > LEASE / 2, "doubled although its lease had not ended"
    return f"{count} jobs, {killed} workers killed, the server too: 0 lost, {len(doubled)} doubled"


def test_no_job_is_lost(tmp_path: Path) -> None:
    """Whoever is killed, each job is done; it is doubled only where a lease has ended."""
    print("\n" + siege(3000, 6, tmp_path, seconds=100))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        began = time.monotonic()
        print(siege(int(sys.argv[1]), 40, Path(made), seconds=1800), f"in {time.monotonic() - began:.0f} s")
