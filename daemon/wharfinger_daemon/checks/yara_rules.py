"""The check ``yara-rules``: a pack of YARA-X rules over every member of the artifact, whatever its name and kind.

The rules are the files in ``rules/``; a rule's name in kebab case is the finding's rule, its ``description`` the
message. What a member must contain before one of them can match is worked out of their source, so that they run on few.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import yara_x

from wharfinger_daemon.checks.rule_needs import need_of_rules
from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member

_SCAN_SECONDS = 20


class YaraRulesCheck(FileCheck):
    """Rules are compiled once, when the check is made."""

    name = "yara-rules"
    version = "2"
    repeatable = True

    def __init__(self) -> None:
        folder = files("wharfinger_daemon.checks") / "rules"
        texts = sorted((item.name, item.read_bytes()) for item in folder.iterdir() if item.name.endswith(".yar"))
        self.rule_texts = tuple(text for _, text in texts)
        compiler = yara_x.Compiler(includes_enabled=False)
        compiler.define_global("member", "")
        for name, text in texts:
            compiler.add_source(text.decode(), origin=name)
        rules = compiler.build()
        self.needs = need_of_rules((text.decode() for _, text in texts), [rule.identifier for rule in rules])
        self._scanner = yara_x.Scanner(rules)
        # Stops a hostile text that a rule is slow on; the engine then counts the member as not examined.
        self._scanner.set_timeout(_SCAN_SECONDS)
        self._scanner.max_matches_per_pattern(100)

    def member(self, member: Member) -> Iterator[Evidence]:
        self._scanner.set_global("member", member.name.lower())
        for rule in self._scanner.scan(member.content).matching_rules:
            description = next(value for key, value in rule.metadata if key == "description")
            offsets = [match.offset for pattern in rule.patterns for match in pattern.matches]
            line = member.content.count(b"\n", 0, min(offsets)) + 1
            yield Evidence(rule.identifier.replace("_", "-"), str(description), line=line)
