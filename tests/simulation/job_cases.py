"""What is simulated of jobs: those who put them, workers that die or stand still, and what must hold."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis_patterns import Call, Command, Job, Jobs, OutcomeUnknown, PatternsError, Plan, Sleep, Steps, TakenJobs, flow
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies

LEASE = 0.5
REMEMBER = 100.0
_SETS = ("ready", "delayed", "leased", "dead", "done")
_HASHES = ("job", "data", "meta", "unique", "cancel")
JOBS: Jobs[int] = Jobs("sim", lease=LEASE, attempts=4, losses=4, retry_after=0.1, remember=REMEMBER)


class Ledger:
    """What is known of the jobs from outside.

    Parameters:
        world: whose server it is.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.accepted: set[str] = set()
        self.acked: dict[str, float] = {}
        """When they were known to be done, by id."""
        self.done: set[str] = set()
        self.cancelled: set[str] = set()
        self.fences: dict[str, int] = {}
        self.wrong: list[str] = []
        self._seen_at = -1
        self._seen: dict[str, Any] = {}

    def look(self) -> dict[str, Any]:
        """Read all that the server has of the queue; once after each step that has sent it something."""
        server = self.world.server
        if server.commands != self._seen_at:
            sets = [("ZRANGE", JOBS._key(part), 0, -1) for part in _SETS]
            hashes = [("HGETALL", JOBS._key(part)) for part in _HASHES]
            words = [*sets, *hashes, ("PTTL", JOBS._key("wake"))]
            answers: Sequence[Any] = server.run(
                Plan("looked", tuple(Command(command) for command in words), lambda answers: answers)
            )
            self._seen = {part: {member.decode() for member in answers[place]} for place, part in enumerate(_SETS)}
            for part, answer in zip(_HASHES, answers[len(_SETS) :], strict=False):
                self._seen[part] = {replies.text(name): held for name, held in replies.pairs(answer)}
            self._seen["wakes_for"] = answers[-1]
            self._seen_at = server.commands
        return self._seen

    def acknowledged(self, job: Job[Any]) -> None:
        self.acked[job.id] = self.world.server.time()

    def began(self, job: Job[Any], done_before: dict[str, float], *, late: bool) -> None:
        """Note that a worker begins with a job, which it asked for when `done_before` was done.

        Parameters:
            job: which.
            done_before: when others were done.
            late: whether its lease may be over, as the worker stood still with the answer.
        """
        if job.id in done_before and self.world.server.time() - done_before[job.id] < REMEMBER:
            self.wrong.append(f"{job.id} was given again after it was done")
        if job.fence < self.fences.get(job.id, 0) and not late:
            self.wrong.append(f"{job.id} was given with a fence that had been")
        self.fences[job.id] = max(self.fences.get(job.id, 0), job.fence)


def jobs_setup(
    jobs: Any = JOBS,
    *,
    producers: int = 2,
    workers: int = 3,
    puts: int = 4,
    turns: int = 8,
    steady: bool = False,
    lagging: bool = False,
) -> Setup:
    """Clients that put jobs, and workers that do them.

    Parameters:
        jobs: a `Jobs`, or something broken in its place.
        producers, puts: how many put jobs, and how many each.
        workers, turns: how many work, and how often each asks for some.
        steady: whether nothing goes wrong with what is to be done: no failures, and nobody stands still.
        lagging: whether replicas take over that have not got the last writes: what was put or told last may be gone
            then, and nothing else may be wrong.
    """

    def setup(world: World) -> None:
        ledger = Ledger(world)

        @flow
        def puts_jobs(number: int) -> Steps[None]:
            for place in range(puts):
                id = f"{number}-{place}"
                yield from Sleep(world.random.choice((0, 0, 0.05, 0.3)))
                unique = world.random.choice((None, None, "k")) if not steady else None
                delay = world.random.choice((None, None, 0.2)) if not steady else None
                with contextlib.suppress(PatternsError):
                    put = yield from jobs.enqueue(
                        place, id=id, priority=world.random.choice((0, 0, 1)), unique=unique, delay=delay
                    )
                    if put.created or put.outcome in {"exists", "done"}:
                        yield from Call(ledger.accepted.add, id)
                if not steady and world.random.random() < 0.1:
                    with contextlib.suppress(PatternsError):
                        # From now on it may be gone, whether an answer comes or not.
                        yield from Call(ledger.cancelled.add, id)
                        yield from jobs.cancel(id)

        @flow
        def works(number: int) -> Steps[None]:
            for _ in range(turns):
                yield from Sleep(world.random.choice((0, 0.02, 0.1)))
                done_before, asked_at = dict(ledger.acked), world.clock()
                with contextlib.suppress(PatternsError):
                    taken: TakenJobs[int] = yield from takes(number)
                    for job in taken.jobs:
                        ledger.began(job, done_before, late=world.clock() - asked_at >= LEASE)
                    for job in taken.jobs:
                        yield from handle(number, job)

        def takes(number: int) -> Steps[TakenJobs[int]]:
            token, count = f"{world.random.getrandbits(64):016x}", world.random.choice((1, 2))
            if world.random.random() < 0.3:
                with contextlib.suppress(OutcomeUnknown):
                    woken: TakenJobs[int] = yield from jobs.reserve_when_woken(
                        0.3, count, worker=f"w{number}", token=token
                    )
                    return woken
                if world.random.random() < 0.3:
                    given: TakenJobs[int] = yield from jobs.recall(worker=f"w{number}", token=token)
                    return given
            taken: TakenJobs[int] = yield from jobs.reserve(count, worker=f"w{number}", token=token)
            return taken

        def handle(number: int, job: Job[int]) -> Steps[None]:
            if not steady:
                yield from Sleep(world.random.choice((0, 0, 0.1, 0.4, 0.7)))
                if world.random.random() < 0.3:
                    yield from jobs.extend([job], worker=f"w{number}")
                    yield from Sleep(world.random.choice((0, 0.3)))
            chance = world.random.random() if not steady else 1.0
            if chance < 0.15:
                yield from jobs.settle(jobs.retry(job, "failed", chance=world.random.random))
            elif chance < 0.2:
                yield from jobs.settle(jobs.give_up(job, "hopeless"))
            elif chance < 0.25:
                yield from jobs.settle(jobs.release(job))
            elif chance < 0.3:
                return  # and it is lost
            else:
                (held,) = yield from jobs.settle(jobs.ack(job))
                if held:
                    yield from Call(ledger.acknowledged, job)

        for number in range(producers):
            world.client(f"p{number}", puts_jobs(number))
        for number in range(workers):
            world.client(f"w{number}", works(number))

        def each_is_in_one_place() -> None:
            seen = ledger.look()
            places = {part: seen[part] for part in ("ready", "delayed", "leased", "dead")}
            known, data, done = seen["job"], seen["data"], seen["done"]
            for id in known:
                where = [part for part, members in places.items() if id in members]
                assert len(where) == 1, f"{id} is in {where}"
                assert id in data, f"{id} has no payload"
            assert set().union(*places.values()) <= known.keys(), "a job of which nothing is known"
            assert data.keys() <= known.keys(), "a payload of which nothing is known"
            assert not done & known.keys(), "a job that is done is there"
            # It is forgotten in the end that they were.
            ledger.done |= done
            if lagging:
                return
            for id in ledger.accepted - ledger.cancelled:
                assert id in known or id in ledger.done, f"{id} is lost"
            assert ledger.acked.keys() <= ledger.done, "a job that was done is not noted"

        def counters_are_right() -> None:
            totals = {name: int(count) for name, count in ledger.look()["meta"].items()}
            held = len(ledger.look()["job"])
            accounted = held + totals.get("acked", 0) + totals.get("cancelled", 0)
            assert totals.get("enqueued", 0) == accounted, f"{totals} with {held} there"
            assert totals.get("orphans", 0) == 0, "orphans"

        def unique_keys_are_right() -> None:
            known = ledger.look()["job"]
            alive = known.keys() - ledger.look()["dead"]
            for unique, id in ledger.look()["unique"].items():
                assert id.decode() in alive, f"the unique key {unique} is held by a job that is over"
            wanting = [id for id in alive if known[id].endswith(b"|k")]
            assert len(wanting) <= 1, f"{wanting} have one unique key"

        def nothing_is_left_behind() -> None:
            alive = ledger.look()["job"].keys() - ledger.look()["dead"]
            assert ledger.look()["cancel"].keys() <= alive, "that a job should be given up is said when it is over"
            assert ledger.look()["wakes_for"] != -1, "what wakes workers has no TTL"

        def nothing_went_wrong() -> None:
            assert lagging or not ledger.wrong, ledger.wrong[0]

        def nobody_fails() -> None:
            failed = [client.error for client in world.clients.values() if client.state == "failed"]
            assert not failed, failed

        world.invariant("a job in the wrong place", each_is_in_one_place)
        world.invariant("a wrong count", counters_are_right)
        world.invariant("a unique key that is wrong", unique_keys_are_right)
        world.invariant("a key that stays for ever", nothing_is_left_behind)
        world.invariant("an answer that is wrong", nothing_went_wrong)
        world.invariant("an error that is none of the library's", nobody_fails)

    return setup


JOB_CASES: dict[str, Setup] = {"jobs": jobs_setup()}
LAGGING = jobs_setup(lagging=True)
