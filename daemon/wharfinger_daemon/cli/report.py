"""How verdicts look on a terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from wharfinger_daemon.scanning.model import Classification, Finding, Verdict

_STYLES = {
    Classification.BENIGN: "green",
    Classification.INDETERMINATE: "yellow",
    Classification.THREAT: "bold red",
}
_MOST_FINDINGS = 10


class Report:
    """Shows each answer as it comes, and a last line that counts them."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def show(self, path: str, verdict: Verdict | None, error: str) -> None:
        """One line for the path, then the findings that weigh most."""
        if verdict is None:
            self._console.print(Text.assemble(("error".ljust(14), "bold red"), harmless(path), f"  {harmless(error)}"))
            return
        classification = verdict.classification
        self._console.print(
            Text.assemble(
                (classification.label.ljust(14), _STYLES[classification]),
                harmless(path),
                (f"  score {verdict.score:g}, confidence {verdict.confidence.label}", "dim"),
            )
        )
        for finding in verdict.findings[:_MOST_FINDINGS]:
            self._show_finding(finding)
        if len(verdict.findings) > _MOST_FINDINGS:
            self._console.print(Text(f"    … and {len(verdict.findings) - _MOST_FINDINGS} more; --json has all", "dim"))

    def close(self, counts: Counter[str]) -> None:
        """The last line: how many answers there were of each kind."""
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing to scan"
        self._console.print(Text(f"{counts.total()} scanned: {told}"))

    def _show_finding(self, finding: Finding) -> None:
        place = f"{finding.member}:{finding.line}" if finding.line else finding.member
        rule = (harmless(f"{finding.check}/{finding.rule}"), "cyan")
        self._console.print(Text.assemble(f"    {finding.weight:+g}  ", rule, f"  {harmless(place)}"))
        self._console.print(Text(f"         {harmless(finding.message)}", "dim"))
        if finding.excerpt:
            self._console.print(Text(f"         > {harmless(finding.excerpt)}", "dim"))


def harmless(text: str) -> str:
    """The text with every character that is not printable written as an escape.

    Names and excerpts are the attacker's: raw, they could move the cursor, rewrite what stands above, or reverse the
    direction of reading.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
