"""Finds checks, and gives a set of them a version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from wharfinger_daemon.scanning.needs import Atom
from wharfinger_daemon.scanning.plugin import ENTRY_POINT_GROUP, Check, need_of
from wharfinger_daemon.scanning.scorecard import SCORECARD_VERSION

# Changes whenever the engine, or the opening of archives, could report something else for the same bytes.
ENGINE_VERSION = "3"

_BUILT_IN = "wharfinger_daemon.checks."


class BuiltInCheckError(Exception):
    """A check that ships with the daemon does not load: the installation is broken."""


@dataclass(frozen=True)
class LoadFailure:
    """A check that is installed and not used, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class LoadedChecks:
    """The checks that are used, sorted by name, and those that are not."""

    checks: tuple[Check, ...]
    failures: tuple[LoadFailure, ...] = ()


def load_checks(points: Iterable[EntryPoint] | None = None) -> LoadedChecks:
    """Imports the checks and makes one instance of each; with that they compile their rules.

    Args:
        points: those of the group ``wharfinger.checks`` that are installed if None.

    Raises:
        BuiltInCheckError: a check that ships with the daemon does not load. Others only count as failures.
    """
    chosen = entry_points(group=ENTRY_POINT_GROUP) if points is None else points
    checks: dict[str, Check] = {}
    failures: list[LoadFailure] = []
    # Built-in ones first, so that nobody takes their name.
    for point in sorted(chosen, key=lambda point: (not point.value.startswith(_BUILT_IN), point.name)):
        try:
            check = _loaded(point)
            if check.name in checks:
                raise ValueError(f"another check is called '{check.name}'")
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            if point.value.startswith(_BUILT_IN):
                raise BuiltInCheckError(f"The built-in check '{point.name}' does not load: {why}.") from error
            failures.append(LoadFailure(name=point.name, why=why))
        else:
            checks[check.name] = check
    return LoadedChecks(tuple(check for _, check in sorted(checks.items())), tuple(failures))


def _loaded(point: EntryPoint) -> Check:
    made: object = point.load()()
    if not isinstance(made, Check):
        raise TypeError(f"'{point.value}' is not a check: it lacks a part of wharfinger_daemon.scanning.plugin.Check")
    for attribute in ("name", "version"):
        stated: object = getattr(made, attribute)
        if not isinstance(stated, str) or not stated.isprintable() or not stated:
            raise TypeError(f"'{point.value}' states no {attribute} that is a printable text")
    needs = need_of(made)
    if needs is not None and not all(isinstance(atom, Atom) for atom in needs.atoms()):
        raise TypeError(f"'{point.value}' needs something that is no Literal, Word or Run")
    return made


def rule_set_version(checks: Sequence[Check]) -> str:
    """The hexadecimal SHA-256 over all that decides what is found: checks, their versions and rules, engine, scorecard.

    The order of the checks does not matter; that of a check's rules does.
    """
    digest = hashlib.sha256()
    for check in sorted(checks, key=lambda check: check.name):
        rules = [hashlib.sha256(text).hexdigest() for text in check.rule_texts]
        _update(digest, "check", check.name, check.version, *rules)
    _update(digest, "engine", ENGINE_VERSION)
    _update(digest, "scorecard", SCORECARD_VERSION)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, *fields: str) -> None:
    """Adds fields with their lengths, so that no two lists give the same bytes."""
    for field in (str(len(fields)), *fields):
        encoded = field.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
