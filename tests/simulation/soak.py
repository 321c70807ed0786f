"""Simulate for long: many seeds of every case, on all processors.

    python tests/simulation/soak.py --schedules 100000 [--only lock --only "fair lock"] [--seed 0]

Prints a line for each case; ends with 1 where an invariant was violated, with the line that repeats it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from redis_patterns.testing.simulation import SOME, Violation, simulate
from tests.simulation.test_simulation import CASES

AT_ONCE = 200
"""Schedules of one piece of work."""


def soak(name: str, seed: int, count: int) -> tuple[int, str]:
    """Run one piece; how many steps it had, and the violation that was found, if any."""
    try:
        return simulate(CASES[name], seed=seed, runs=count, steps=400, faults=SOME).steps, ""
    except Violation as violation:
        return 0, str(violation)


def main() -> int:
    """Run all pieces."""
    parser = argparse.ArgumentParser(description="Simulate for long.")
    parser.add_argument("--schedules", type=int, default=10_000, help="of all cases together (10000)")
    parser.add_argument("--only", action="append", choices=list(CASES), help="this case; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="the first (0)")
    options = parser.parse_args()
    names: list[str] = options.only or list(CASES)
    pieces = -(-options.schedules // (AT_ONCE * len(names)))
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work = {
            pool.submit(soak, name, options.seed + number * AT_ONCE, AT_ONCE): name
            for number in range(pieces)
            for name in names
        }
        steps, done = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        for future in as_completed(work):
            name = work[future]
            taken, violation = future.result()
            steps[name] += taken
            done[name] += AT_ONCE
            if violation:
                failed = 1
                print(f"{name}: {violation}", flush=True)
    for name in names:
        print(f"{name:20} {done[name]:8,} schedules {steps[name]:10,} steps")
    print(f"{sum(done.values()):,} schedules in {time.monotonic() - began:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
