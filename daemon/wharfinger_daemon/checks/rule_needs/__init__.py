"""Works out of the source of YARA rules which words a text must contain before any of them can match.

``regexes`` reads patterns, ``tokens`` and ``rules`` the rules around them. Whatever is not understood for certain needs
nothing, so that no match is ever lost.
"""

from wharfinger_daemon.checks.rule_needs.rules import need_of_rules

__all__ = ["need_of_rules"]
