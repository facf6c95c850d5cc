"""How long and how many: the numbers of a supervisor, each with its meaning."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """All times in seconds. The defaults suit an HSM on a network as well as SoftHSM."""

    start: float = 30.0
    """From starting a process to its log-in."""

    keys: float = 30.0
    """For all requests but signing; large RSA keys take long to generate."""

    allowance: float = 1.0
    """A worker is never killed over one signing request sooner than this …"""

    allowance_per_item: float = 0.1
    """… plus this for each item, however short the caller's deadline: haste must not kill healthy workers."""

    ceiling: float = 10.0
    """A worker is killed over one signing request after this, however far the caller's deadline."""

    least: float = 0.005
    """With less time left, the token is not asked: no answer would come in time."""

    stop: float = 2.0
    """For logging out when the supervisor closes."""

    first_backoff: float = 0.1
    longest_backoff: float = 30.0
    """Waits before a worker is replaced: doubled after each failure in a row, from first to longest."""

    waiting_requests: int = 1024
    """More than so many waiting requests are refused with `OverloadedError`."""

    items_per_request: int = 16
    """Longer batches are split, so that workers share them, others get a turn in between, and one part is verified
    while the next is signed; shorter ones that wait are merged."""

    def backoff(self, failures: int) -> float:
        """The wait after so many failures in a row (1 or more)."""
        # The exponent is bounded because a float overflows.
        return float(min(self.longest_backoff, self.first_backoff * 2 ** min(failures - 1, 32)))

    def allowance_for(self, items: int) -> float:
        return self.allowance + self.allowance_per_item * items
