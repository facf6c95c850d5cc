"""What a pool of workers is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

from wharfinger_daemon.sandbox.layers import Layer
from wharfinger_daemon.scanning.engine import EngineLimits

_MIB = 1024 * 1024


@dataclass(frozen=True)
class CheckSource:
    """Where workers take their checks from.

    Attributes:
        classes: ``module:Class`` each; the entry points of the group ``wharfinger.checks`` if None.
        import_paths: directories that are searched for these modules besides the installed ones.
    """

    classes: tuple[str, ...] | None = None
    import_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class SandboxSettings:
    """A pool of workers.

    Attributes:
        workers: how many artifacts are examined at the same time.
        job_seconds: after so long a worker is killed; an artifact is tried twice.
        start_seconds: how long a worker may take to load its checks and to confine itself.
        memory_bytes: what a worker may allocate beyond what it has when its checks are loaded.
        jobs_per_worker: after so many artifacts a worker is replaced.
        required_layers: without these a worker is not used.
        limits: what opening an artifact and checking it may cost.
        checks: where checks come from.
    """

    workers: int = 1
    job_seconds: float = 120.0
    start_seconds: float = 60.0
    memory_bytes: int = 1024 * _MIB
    jobs_per_worker: int = 500
    required_layers: frozenset[Layer] = frozenset(
        {Layer.NO_NEW_PRIVILEGES, Layer.PARENT_DEATH, Layer.LIMITS, Layer.LANDLOCK, Layer.SECCOMP}
    )
    limits: EngineLimits = field(default_factory=EngineLimits)
    checks: CheckSource = CheckSource()
