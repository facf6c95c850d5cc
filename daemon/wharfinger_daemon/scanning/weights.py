"""What each rule of each check adds to the score.

A weight says how much a finding moves the odds towards malware. ``THREAT_SCORE`` is where an administrator is called,
so a rule reaches it alone only if clean packages practically never do what it describes; ``SUSPICIOUS_SCORE`` is where
a complete scan stops being benign. Rules that describe oddities of clean packages weigh little and serve as context.

The weights in this module were set by judgement. Those of the rules that labelled archives have shown were then fitted,
with judgement as the prior, and are in ``fitted_weights``; ``WEIGHTS`` is both together. ``CEILINGS`` bounds what the
fit may make of rules that the sample of clean packages is too small to judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType

from wharfinger_daemon.scanning.fitted_weights import FITTED

SUSPICIOUS_SCORE = 4.0
THREAT_SCORE = 10.0

# A check that nobody has weighed is reason enough to look, and never enough to alarm.
UNKNOWN_RULE_WEIGHT = 4.0

_ARCHIVE_STRUCTURE = {
    "path-traversal": 10.0,
    "tar-size-mismatch": 10.0,
    "zip-overlapping-members": 10.0,
    "zip-size-mismatch": 10.0,
    "expansion-bomb": 8.0,
    "link-disguise": 8.0,
    "absolute-path": 6.0,
    "ambiguous-name": 6.0,
    "device-member": 6.0,
    "oversized-header": 6.0,
    "polyglot": 6.0,
    "zip-entry-count-mismatch": 6.0,
    "zip-local-header-mismatch": 6.0,
    "bad-checksum": 4.0,
    "corrupt-data": 4.0,
    "corrupt-header": 4.0,
    "duplicate-member": 4.0,
    "encrypted-member": 4.0,
    "not-an-archive": 4.0,
    "truncated-archive": 4.0,
    "unreadable-archive": 4.0,
    "zip-unlisted-data": 4.0,
    "link-escape": 2.0,
    "prepended-data": 2.0,
    "unsupported-compression": 2.0,
    "colliding-names": 1.0,
    "member-too-large": 1.0,
    "nested-too-deep": 1.0,
    "too-many-members": 1.0,
    "trailing-data": 1.0,
    "link-member": 0.0,
}

# What happens, by itself, when the package is installed, imported, or the interpreter starts (a .pth line).
_EAGER_BEHAVIOURS = {
    "decoded-execution": (12.0, 10.0, 12.0),
    "download-execution": (12.0, 10.0, 12.0),
    "exfiltration": (12.0, 10.0, 12.0),
    "reverse-shell": (14.0, 14.0, 14.0),
    "suspicious-process": (10.0, 10.0, 10.0),
    "disguised-call": (8.0, 6.0, 8.0),
    "network": (4.5, 2.0, 6.0),
    "downloaded-process": (10.0, 8.0, 10.0),
    "network-process": (4.0, 3.0, 8.0),
    "package-install": (1.5, 2.0, 6.0),
    "key-disclosure": (10.0, 8.0, 10.0),
    "program-file": (1.0, 2.0, 6.0),
}
# What it would do if somebody called it: libraries legitimately do some of this, so none of it is an alarm by itself.
_LATENT_BEHAVIOURS = {
    "reverse-shell": 8.0,
    "key-disclosure": 7.0,
    "hidden-execution": 6.0,
    "exfiltration": 6.0,
    "suspicious-process": 6.0,
    "decoded-execution": 5.0,
    "downloaded-process": 4.0,
    "download-execution": 3.0,
    "disguised-call": 3.0,
}
_LATENT_CEILING = 9.0
# Build scripts, installers and agents do this honestly. What a setup.py does that fetches a prebuilt library and starts
# tools, the first five all together, stays below a threat.
_EAGER_CEILINGS = {
    "install-network": 4.5,
    "import-network": 2.5,
    "install-package-install": 1.5,
    "install-program-file": 1.0,
    "aside-behaviour": 0.4,
    "import-package-install": 5.0,
    "import-program-file": 3.0,
    "latent-decoded-execution": 3.0,
    "latent-download-execution": 4.0,
}
_EAGER_CODE = {
    f"{stage}-{behaviour}": weights[index]
    for behaviour, weights in _EAGER_BEHAVIOURS.items()
    for index, stage in enumerate(("install", "import", "startup"))
}
_EAGER_CODE |= {f"latent-{behaviour}": weight for behaviour, weight in _LATENT_BEHAVIOURS.items()} | {
    "aside-behaviour": 0.4,
    "startup-code": 0.5,
    "unparsable-python": 0.0,
    "unanalysable-python": 4.0,
}

_YARA_RULES = {
    "discord-webhook-harvest": 10.0,
    "encoded-powershell-from-python": 10.0,
    "reverse-shell-idiom": 10.0,
    "named-obfuscator": 8.0,
    "callback-host-with-host-data": 10.0,
    "off-screen-code": 10.0,
    "clipboard-wallet-clipper": 10.0,
    "browser-credential-theft": 10.0,
    "discord-token-theft": 10.0,
    "telegram-harvest": 10.0,
}

# More frequent in malware than in clean packages, and in both: see rules/signals.yar.
_SIGNALS = {
    "callback-host": 6.0,
    "hard-coded-bot-token": 5.0,
    "hard-coded-webhook": 5.0,
    "setup-encoded-literal": 5.0,
    "setup-host-facts": 5.0,
    "encoded-program": 4.0,
    "setup-raw-socket": 4.0,
    "temporary-program": 4.0,
    "escaped-program": 3.0,
    "look-alike-names": 3.0,
    "off-screen-text": 3.0,
    "screen-capture-sent": 3.0,
    "setup-research-claim": 3.0,
    "startup-entry": 3.0,
    "request-recorder": 2.5,
    "renamed-builtins": 5.0,
    "protected-code": 4.0,
    "cookies-sent": 3.0,
    "spawned-import": 3.0,
    "accounts-in-reach": 2.0,
    "address-lookup": 2.0,
    "hidden-window": 2.0,
    "numeric-address": 2.0,
    "setup-silenced-errors": 2.0,
    "payload-host": 1.5,
    "setup-imported-by-call": 1.5,
}
# What newcomers and bots do honestly has a lower one than the fit, which saw too few of them, would give it.
_SIGNAL_CEILINGS = dict.fromkeys(_SIGNALS, 7.0) | {
    "address-lookup": 3.0,
    "encoded-program": 6.0,
    "numeric-address": 2.0,
    "protected-code": 4.0,
    "payload-host": 3.5,
    "request-recorder": 3.5,
    "hidden-window": 3.0,
    "temporary-program": 3.5,
    "escaped-program": 3.0,
    "screen-capture-sent": 3.0,
    "setup-imported-by-call": 2.5,
    "setup-silenced-errors": 2.0,
    "spawned-import": 3.5,
    "startup-entry": 5.0,
}

# Honest newcomers are like that, too: what says nothing of itself must stay benign, however little it holds.
_PACKAGE_PROFILE = {
    "executed-data-file": 6.0,
    "bare-install-hook": 4.0,
    "inflated-version": 3.5,
    "imitated-name": 3.0,
    "bare-metadata": 1.5,
    "lone-setup": 1.5,
}
_PROFILE_CEILINGS = {
    "executed-data-file": 8.0,
    "bare-install-hook": 5.0,
    "inflated-version": 3.9,
    "imitated-name": 3.0,
    "bare-metadata": 1.5,
    "lone-setup": 1.5,
}

# Written by the service when the content makes every examination fail: never benign, never an alarm by itself.
ENGINE_WEIGHT = 4.0

JUDGED: Mapping[tuple[str, str], float] = MappingProxyType(
    {("archive-structure", rule): weight for rule, weight in _ARCHIVE_STRUCTURE.items()}
    | {("eager-code", rule): weight for rule, weight in _EAGER_CODE.items()}
    | {("package-profile", rule): weight for rule, weight in _PACKAGE_PROFILE.items()}
    | {("yara-rules", rule): weight for rule, weight in (_YARA_RULES | _SIGNALS).items()}
)
CEILINGS: Mapping[tuple[str, str], float] = MappingProxyType(
    {("package-profile", rule): ceiling for rule, ceiling in _PROFILE_CEILINGS.items()}
    | {("yara-rules", rule): ceiling for rule, ceiling in _SIGNAL_CEILINGS.items()}
    | {("eager-code", f"latent-{behaviour}"): _LATENT_CEILING for behaviour in _LATENT_BEHAVIOURS}
    | {("eager-code", rule): ceiling for rule, ceiling in _EAGER_CEILINGS.items()}
)
WEIGHTS: Mapping[tuple[str, str], float] = MappingProxyType({**JUDGED, **FITTED})


def table_digest() -> str:
    """A digest of every number above, so that no weight changes without the rule set's version changing."""
    table = {"/".join(key): weight for key, weight in sorted(WEIGHTS.items())}
    numbers = [SUSPICIOUS_SCORE, THREAT_SCORE, UNKNOWN_RULE_WEIGHT, ENGINE_WEIGHT, table]
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]
