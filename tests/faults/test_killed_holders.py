"""Eight processes and one lock, with kill -9 and lost connections at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import redis_patterns
import redis_patterns_core
import tests
from redis_patterns import Lock
from redis_patterns.sync import Driver
from redis_patterns.testing import Server
from tests.drivers.plans import once
from tests.faults.lock_worker import TTL

PROCESSES, ROUNDS, KILLS, TIME = 8, 50, 12, 90.0


def test_nobody_is_inside_with_another(redis_server: Server, tmp_path: Path) -> None:
    """No two are under the lock at one time, fences only grow, and nobody hangs."""
    path, name = tmp_path / "log", f"killed-{os.getpid()}"
    path.touch()
    packages = [str(Path(one.__path__[0]).parent) for one in (redis_patterns, redis_patterns_core, tests)]
    chance, killed, running = random.Random(6), set[int](), list[subprocess.Popen[bytes]]()

    def start() -> None:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.lock_worker", redis_server.url, name, str(path), str(ROUNDS)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
            )
        )

    until = time.monotonic() + TIME
    try:
        for _ in range(PROCESSES):
            start()
        with Driver.connect(redis_server.url) as redis:
            while any(process.poll() is None for process in running):
                assert time.monotonic() < until, "somebody hangs"
                time.sleep(chance.uniform(0.02, 0.2))
                alive = [process for process in running if process.poll() is None and b"begin" in path.read_bytes()]
                if alive and len(killed) < KILLS:
                    victim = chance.choice(alive)
                    victim.send_signal(signal.SIGKILL)
                    victim.wait()
                    killed.add(victim.pid)
                    start()
                if chance.random() < 0.3:
                    redis.run(once("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
            assert redis.run(Lock(name).inspect()).waiting <= len(killed)
    finally:
        for process in running:
            process.kill()
            process.wait()

    lines = [line.split() for line in path.read_text().splitlines()]
    counts = Counter(line[0] for line in lines)
    assert counts["done"] >= PROCESSES
    assert counts["end"] >= PROCESSES * ROUNDS
    fences = [int(fence) for what, fence, _, _ in lines if what == "begin"]
    assert fences == sorted(set(fences)), "the log is in the order of the fences"
    inside: tuple[str, float] | None = None
    for what, _, pid, moment in lines:
        if what == "begin":
            # Whoever was inside before has been killed, or has lost its lease, which took as long as the lease runs.
            assert inside is None or int(inside[0]) in killed or float(moment) - inside[1] > TTL / 2, lines
            inside = (pid, float(moment))
        elif inside is not None and inside[0] == pid:
            inside = None
