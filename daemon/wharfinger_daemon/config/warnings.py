"""What a configuration may say and seldom means."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from wharfinger_daemon.config.servers import CallerSettings
from wharfinger_daemon.config.settings import Job, Settings

_SERVICE = "wharfinger.signing.v1.SigningService"
_LINT = f"{_SERVICE}/Lint"
_SIGN = f"{_SERVICE}/Sign"


def warnings(settings: Settings) -> Iterator[str]:
    """Whole sentences, for a person; none for a configuration in which nothing is odd."""
    published = settings.metadata.repository if settings.metadata and Job.METADATA in settings.jobs else None
    names = [one.name for one in settings.repositories]
    for caller in settings.callers:
        if published is not None and _may_have_signed(caller, published):
            yield (
                f"Caller '{caller.name}' may have roles of '{published}' signed, which this daemon publishes: it can "
                "have anything signed as their next versions, and the publisher must evade those. Grant it "
                "PublishTargets instead of Sign, unless it only fetches recorded signatures."
            )
        yield from _idle_grants(caller, names)
    yield from _odd_caches(settings)


def _odd_caches(settings: Settings) -> Iterator[str]:
    metadata = settings.metadata if Job.METADATA in settings.jobs else None
    if metadata is None:
        if settings.caches.fastly or settings.caches.varnish:
            yield "[caches] names caches, and this daemon publishes nothing that they could be told of."
    elif settings.http.timestamp_max_age_seconds > metadata.cache_life_seconds:
        yield (
            f"Caches may keep timestamp.json for {settings.http.timestamp_max_age_seconds} s "
            "(http.timestamp_max_age_seconds), longer than the files that it leads to are kept for them "
            f"({metadata.cache_life_seconds:g} s, metadata.cache_life_seconds). Raise the second."
        )


def _grants(caller: CallerSettings) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    yield caller.repositories, caller.roles
    for grant in caller.grants:
        yield grant.repositories, grant.roles


def _may_have_signed(caller: CallerSettings, repository: str) -> bool:
    return _may_call(caller, _SIGN) and any(
        roles and _matches(repository, patterns) for patterns, roles in _grants(caller)
    )


def _idle_grants(caller: CallerSettings, repositories: list[str]) -> Iterator[str]:
    for patterns, _ in _grants(caller):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in repositories):
                yield f"Caller '{caller.name}' is granted repository '{pattern}', and no [[repositories]] is called so."
    if caller.grants and not (_may_call(caller, _SIGN) or _may_call(caller, _LINT)):
        yield f"Caller '{caller.name}' has [[callers.grants]], and its rpcs grant neither Sign nor Lint."


def _may_call(caller: CallerSettings, rpc: str) -> bool:
    return _matches(rpc, caller.rpcs)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
