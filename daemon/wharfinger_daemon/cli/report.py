"""How verdicts look on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
            self._console.print(Text.assemble(("error".ljust(14), "bold red"), path, f"  {error}"))
            return
        classification = verdict.classification
        self._console.print(
            Text.assemble(
                (classification.label.ljust(14), _STYLES[classification]),
                path,
                (f"  score {verdict.score:g}, confidence {verdict.confidence.label}", "dim"),
            )
        )
        for finding in verdict.findings[:_MOST_FINDINGS]:
            self._show_finding(finding)
        if len(verdict.findings) > _MOST_FINDINGS:
            self._console.print(Text(f"    … and {len(verdict.findings) - _MOST_FINDINGS} more; --json has all", "dim"))

    def close(self, verdicts: Sequence[Verdict | None]) -> None:
        """The last line."""
        counts = Counter("error" if verdict is None else verdict.classification.label for verdict in verdicts)
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing to scan"
        self._console.print(Text(f"{len(verdicts)} scanned: {told}"))

    def _show_finding(self, finding: Finding) -> None:
        place = f"{finding.member}:{finding.line}" if finding.line else finding.member
        rule = (f"{finding.check}/{finding.rule}", "cyan")
        self._console.print(Text.assemble(f"    {finding.weight:+g}  ", rule, f"  {place}"))
        self._console.print(Text(f"         {finding.message}", "dim"))
        if finding.excerpt:
            self._console.print(Text(f"         > {finding.excerpt}", "dim"))
