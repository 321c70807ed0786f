"""Leaderboards under simulation: what ranks are read from is in step, whoever dies; and a copy that is not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from redis_patterns import Command, Effect, Flow, Leaderboard, PatternsError, Plan, Sleep, Steps, flow
from redis_patterns.testing.simulation import Setup, World
from redis_patterns_core import replies
from tests.simulation.bugs import Bug

RANKED = Leaderboard("ranked", ties="dense", first_come=True, most=3)
MEMBERS = ["ann", "bob", "cy", "dan", "eve"]
Write = Callable[[str, float], Plan[Any] | Flow[Any]]


def ranks_setup(write: Write, board: Leaderboard, *, clients: int = 3, rounds: int = 8) -> Setup:
    """Clients that write few scores to few members, and take members off.

    Parameters:
        write: gives a plan or a flow that writes a score.
        board: the real one.
        clients, rounds: how many, and how often each.
    """

    def setup(world: World) -> None:
        @flow
        def writer() -> Steps[None]:
            for _ in range(rounds):
                member, score = world.random.choice(MEMBERS), world.random.randint(-1, 2)
                steps: list[Plan[Any] | Flow[Any]] = [write(member, score), write(member, score), board.remove(member)]
                with contextlib.suppress(PatternsError):
                    yield from world.random.choice(steps)
                yield from Sleep(0.01)

        for number in range(clients):
            world.client(f"c{number}", writer())

        def read(*words: str | int) -> list[tuple[str, float]]:
            plan = Plan("read", (Command((*words, "WITHSCORES")),), lambda answers: answers[0], Effect.READS)
            return [
                (replies.text(name), replies.number(score)) for name, score in replies.pairs(world.server.run(plan))
            ]

        def in_step() -> bool:
            own, scores, order, *_ = board.here().keys
            members = read("ZRANGE", own, 0, -1)
            levels = {score for _, score in read("ZRANGE", scores, 0, -1)}
            arrived = sorted((name[16:], score) for name, score in read("ZRANGE", order, 0, -1))
            return levels == {score for _, score in members} and (not board.first_come or arrived == sorted(members))

        world.invariant("what ranks are read from is not in step", in_step)
        world.invariant("more than are kept", lambda: not board.most or world.server.run(board.count()) <= board.most)

    return setup


LEVELS = Leaderboard("levels", ties="dense")


@flow
def in_two_steps(member: str, score: float) -> Generator[Any, Any, None]:
    """Write a score, and the distinct ones in a step of its own."""
    own, scores, *_ = LEVELS.here().keys
    yield from Plan("zadd", (Command(("ZADD", own, score, member)),), lambda _: None)
    yield from Plan("zadd", (Command(("ZADD", scores, score, str(score))),), lambda _: None)


BOARD_CASES = {
    "ranks": ranks_setup(lambda member, score: RANKED.submit(member, score, mode="set"), RANKED),
    "counted ranks": ranks_setup(RANKED.increment, RANKED),
}
BOARD_BUGS = [
    Bug("distinct scores in a step of their own", ranks_setup(in_two_steps, LEVELS), ("not in step",)),
]
