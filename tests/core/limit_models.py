"""What each limit means, said as plainly as possible: how much can be taken at a moment, given what was taken when."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction

SECOND = 1_000_000


class Model(ABC):
    """A limit whose room only grows while nobody takes.

    Parameters:
        limit: the most at once.
        longest: microseconds after which everything can be taken again, whatever was taken.
    """

    def __init__(self, limit: int, longest: int) -> None:
        self.limit = limit
        self.longest = longest
        self.taken: list[tuple[int, int]] = []

    @abstractmethod
    def room(self, moment: int) -> int:
        """Give how much can be taken at a moment; may be less than 0 where more was taken than is allowed now."""

    def newest(self) -> int:
        """Give the moment that this limit never goes back behind."""
        return self.taken[-1][0]

    def take(self, now: int, cost: int) -> tuple[bool, int, int | None, int, int]:
        """Take; gives allowed, remaining, and in microseconds retry, reset and next, found by trying out moments."""
        allowed, moment, lag = self.look(now, cost)
        if allowed:
            self.taken = [(at, paid) for at, paid in self.taken if at > moment - 3 * self.longest] + [(moment, cost)]
        remaining = max(0, self.room(moment))
        retry = 0 if allowed else None if cost > self.limit else self.until(moment, cost) + lag
        reset = self.until(moment, self.limit)
        next_ = self.until(moment, remaining + 1) if remaining < self.limit else 0
        return allowed, remaining, retry, reset + lag if reset else 0, next_ + lag if next_ else 0

    def look(self, now: int, cost: int) -> tuple[bool, int, int]:
        """Give whether a cost is allowed, the moment that counts as now, and how far that is ahead of the clock."""
        moment = max(now, self.newest()) if self.taken else now
        return self.room(moment) >= cost, moment, moment - now

    def until(self, moment: int, wanted: int) -> int:
        """Give the fewest microseconds after which so much can be taken."""
        low, high = -1, self.longest + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self.room(moment + middle) >= wanted:
                high = middle
            else:
                low = middle
        return high


class Fixed(Model):
    """Windows from the epoch on."""

    def __init__(self, limit: int, per: int) -> None:
        super().__init__(limit, per)
        self.per = per

    def newest(self) -> int:
        return self.taken[-1][0] // self.per * self.per

    def room(self, moment: int) -> int:
        return self.limit - sum(cost for at, cost in self.taken if at // self.per == moment // self.per)


class Log(Model):
    """What was taken less than a window ago counts."""

    def __init__(self, limit: int, per: int) -> None:
        super().__init__(limit, per)
        self.per = per

    def room(self, moment: int) -> int:
        return self.limit - sum(cost for at, cost in self.taken if at > moment - self.per)


class Counter(Model):
    """The last window counts by the part of it that is less than a window ago, in milliseconds."""

    def __init__(self, limit: int, per: int) -> None:
        super().__init__(limit, 2 * per)
        self.per = per

    def newest(self) -> int:
        return self.taken[-1][0] // self.per * self.per

    def room(self, moment: int) -> int:
        index, part = moment // self.per, moment % self.per // 1000
        width = self.per // 1000
        current = sum(cost for at, cost in self.taken if at // self.per == index)
        before = sum(cost for at, cost in self.taken if at // self.per == index - 1)
        return math.floor(self.limit - current - Fraction(before * (width - part), width))


class Bucket(Model):
    """Tokens that flow back evenly."""

    def __init__(self, capacity: int, rate: Fraction) -> None:
        super().__init__(capacity, math.ceil(capacity / rate))
        self.rate = rate
        self.left = Fraction(capacity)
        self.at = 0

    def room(self, moment: int) -> int:
        # What was taken since the last look is taken out of what had flowed back by then.
        for at, cost in self.taken:
            self.left = min(Fraction(self.limit), self.left + (at - self.at) * self.rate) - cost
            self.at = at
        self.taken = self.taken[-1:] and [(self.at, 0)]
        return math.floor(min(Fraction(self.limit), self.left + (moment - self.at) * self.rate))
