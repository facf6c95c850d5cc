"""How fast each caller may ask for signatures: token buckets.

A caller may have a rate of its own, and each of its grants another. A signature counts against the caller's rate and
against that of *every* grant which allows its role, so that a narrow grant with a low rate is not widened by a broad
one beside it. A batch passes as a whole or not at all; what is refused takes nothing.

Buckets are full at first, hold at most ``burst``, and gain ``per_second``. When the clock jumps ahead they are full,
when it is set back they wait; neither ever gives more than one burst too much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, RateLimitedError, Reason
from wharfinger_daemon.signing.model import Caller, Rate, SigningGrant

_MOST_SECONDS = 315_576_000_000  # The longest google.protobuf.Duration: about 10,000 years.

_Key = tuple[str, SigningGrant | None]
RoleOfRepository = tuple[str, str]
"""A repository and a role of it, by their names."""


@dataclass
class _Bucket:
    level: float
    at: datetime

    def filled(self, rate: Rate, now: datetime) -> _Bucket:
        gained = max(0.0, (now - self.at).total_seconds()) * rate.per_second
        return _Bucket(min(float(rate.burst), self.level + gained), now)


class Rates:
    """The buckets of all callers, as long as the process lives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[_Key, _Bucket] = {}

    def take(self, caller: Caller, items: Iterable[RoleOfRepository]) -> None:
        """Counts a batch.

        Raises:
            RateLimitedError: RATE_LIMITED; it says when to come back. Nothing was counted.
            InvalidRequestError: BATCH_TOO_LARGE; it has more signatures than a bucket ever holds.
        """
        asking = self.asking(caller)
        asking.take(items)
        self._buckets.update(asking.buckets)

    def asking(self, caller: Caller) -> Asking:
        """What ``take`` would say, one batch after another, without counting any of them."""
        return Asking(caller, self._clock.now(), self._buckets)


class Asking:
    """The buckets of one caller at one instant. What is taken here changes nothing elsewhere.

    Attributes:
        buckets: those that were taken from, as they are now.
    """

    def __init__(self, caller: Caller, now: datetime, present: Mapping[_Key, _Bucket]) -> None:
        self._caller = caller
        self._now = now
        self._present = present
        self.buckets: dict[_Key, _Bucket] = {}

    def take(self, items: Iterable[RoleOfRepository]) -> None:
        """As ``Rates.take``, here alone."""
        wanted = Counter(key for item in items for key in self._keys(*item))
        rates = {key: self._rate(key) for key in wanted}
        for key, count in wanted.items():
            if count > rates[key].burst:
                raise InvalidRequestError(
                    f"The batch asks for {count} signatures, and {_named(key)} may have {rates[key].burst} at once. "
                    "Send it in parts.",
                    reason=Reason.BATCH_TOO_LARGE,
                )
        filled = {key: self._bucket(key, rates[key]) for key in wanted}
        waits = {key: _wait(filled[key].level, count, rates[key]) for key, count in wanted.items()}
        slowest = max(waits, key=waits.__getitem__, default=None)
        if slowest is not None and waits[slowest] > 0:
            raise _limited(slowest, rates[slowest], waits[slowest])
        for key, count in wanted.items():
            filled[key].level -= count
        self.buckets.update(filled)

    def refusal(self, item: RoleOfRepository) -> RateLimitedError | None:
        """Takes for one more item, and returns the refusal instead of raising it."""
        try:
            self.take([item])
        except RateLimitedError as error:
            return error
        return None

    def _keys(self, repository: str, role: str) -> Iterator[_Key]:
        if self._caller.rate is not None:
            yield self._caller.name, None
        for grant in self._caller.grants:
            if grant.rate is not None and grant.allows(repository, role):
                yield self._caller.name, grant

    def _rate(self, key: _Key) -> Rate:
        _, grant = key
        rate = self._caller.rate if grant is None else grant.rate
        assert rate is not None  # Only what has a rate has a key.
        return rate

    def _bucket(self, key: _Key, rate: Rate) -> _Bucket:
        bucket = self.buckets.get(key) or self._present.get(key)
        return _Bucket(float(rate.burst), self._now) if bucket is None else bucket.filled(rate, self._now)


def _wait(level: float, count: int, rate: Rate) -> float:
    # The smallest representable excess must not refuse what arithmetic would have let through.
    missing = count - level
    return 0.0 if missing <= 1e-9 else min(missing / rate.per_second, float(_MOST_SECONDS))


def _named(key: _Key) -> str:
    caller, grant = key
    return f"caller '{caller}'" if grant is None else f"the grant of caller '{caller}' for {', '.join(grant.roles)}"


def _limited(key: _Key, rate: Rate, seconds: float) -> RateLimitedError:
    return RateLimitedError(
        f"The rate is reached: {_named(key)} may have {rate.per_second:g} signatures a second. Come back in "
        f"{math.ceil(seconds * 1000) / 1000:g} s.",
        reason=Reason.RATE_LIMITED,
        retry_after_seconds=seconds,
        caller=key[0],
    )
