"""The check ``eager-code``: what Python code does by itself when it is installed, imported or found by the interpreter.

Rules, each with the stage in front: ``install-`` for a setup.py, ``import-`` for any other module, ``startup-`` for a
``.pth`` line, ``sitecustomize`` and ``usercustomize``:

- ``decoded-execution``: code or a command that was decoded, decompressed or decrypted is executed
- ``download-execution``, ``downloaded-process``: code or a program that was downloaded is executed or started
- ``suspicious-process``: a command line with an encoded PowerShell, a download piped to a shell, a reverse shell …
- ``network-process``, ``package-install``: curl, wget or pip as a process
- ``program-file``: a program or script is started by its file's name, but for the tools of builds
- ``exfiltration``: host name, user, whole environment or secret files are sent
- ``network``: the network is used
- ``reverse-shell``: a socket takes the place of the standard streams
- ``key-disclosure``: what is called a private key, a mnemonic or a seed phrase is sent as it is
- ``hidden-execution``, latent only: what is decoded and executed stands encoded in the source itself
- ``disguised-call``: exec, a process or an import is reached by a computed name

The stage ``latent-`` is for what a module would do if another one, or a person, called its functions or ran it as a
program; rules of low precision have no such stage.

and, without a stage, ``aside-behaviour`` (any of these in the documentation or tests of a source archive, where no
import leads), ``startup-code`` (a ``.pth`` line that runs code), ``unparsable-python`` (not Python, as this version
knows it) and ``unanalysable-python`` (too large or too deep to be followed to its end).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from wharfinger_daemon.checks.syntax.catalogue import QUIET_FOLDERS
from wharfinger_daemon.checks.syntax.interpreter import Analysis, analyse, parse
from wharfinger_daemon.scanning.plugin import Evidence, FileCheck, Member

MAX_SOURCE_BYTES = 4 << 20

# Without one of these words in it, no module does anything that the rules speak of.
_WORDS = (
    "exec",
    "eval",
    "system",
    "popen",
    "subprocess",
    "spawn",
    "__import__",
    "import_module",
    "getattr",
    "builtins",
    "urlopen",
    "urlretrieve",
    "requests",
    "httpx",
    "socket",
    "http.client",
    "urllib",
    "aiohttp",
    "startfile",
    "globals",
    "vars(",
    "FunctionType",
    "wget",
    "ftplib",
    "smtplib",
    "__dict__",
)

# Lines of .pth files that tools write, and that do no more than their names say.
_KNOWN_STARTUP_LINES = re.compile(
    r"import (?:_virtualenv|_distutils_hack|distutils-precedence|coverage; coverage\.process_startup\(\)|"
    r"__editable___\w+_finder; __editable___\w+_finder\.install\(\)|a1_coverage|_pdm_pep517_\w+)\s*"
)

# The textual stand-in for files that cannot be parsed.
_EXECUTED_BLOB = re.compile(
    r"\b(?:exec|eval)\s*\([^\n]{0,200}?\b(?:b64decode|b85decode|b32decode|unhexlify|fromhex|decompress|loads|decrypt|"
    r"urlopen|requests\.get)\b"
)
_ASIDE_FOLDERS = frozenset(
    {"doc", "docs", "test", "tests", "example", "examples", "benchmark", "benchmarks", ".github"}
)
# Elsewhere it says no more than decoded-execution does.
_LATENT_ONLY = frozenset({"hidden-execution"})
_LOW_PRECISION = frozenset({"network", "network-process", "package-install", "program-file"})

# What a module must have, by one word of each of two groups, to do anything latent that the rules speak of.
_RUNNERS = ("exec", "eval", "system", "open(", "subprocess", "spawn", "startfile", "__import__", "FunctionType")
_NETWORKS = ("requests", "urlopen", "urlretrieve", "httpx", "socket", "http.client", "aiohttp", "wget", "Webhook")
_DECODERS = ("decode", "unhexlify", "fromhex", "decompress", "marshal", "decrypt", "chr(", "^")
_FACTS = ("hostname", "getfqdn", "getuser", "getlogin", "environ", "getenv", "node()", "getnode", "whoami", "ipify")
_KEYS = re.compile(r"private_?key|priv_?key|mnemonic|(?:seed|secret|recovery)_?(?:phrase|word)", re.IGNORECASE)


_WHEN = {
    "install": "During installation",
    "import": "On import",
    "startup": "When the interpreter starts",
    "latent": "When it is called",
}


class EagerCodeCheck(FileCheck):
    """Follows the syntax tree of every module; never executes anything."""

    name = "eager-code"
    version = "3"
    repeatable = True

    def member(self, member: Member) -> Iterator[Evidence]:
        path = member.name.rpartition("!/")[2]
        if path.endswith(".pth"):
            yield from _startup_lines(member)
        elif path.endswith((".py", ".pyw")):
            yield from _module(member, path)


def _module(member: Member, path: str) -> Iterator[Evidence]:
    stage = _stage_of(path)
    runs_first = stage != "import" or path.endswith("/__init__.py")
    if len(member.content) > MAX_SOURCE_BYTES:
        if runs_first:
            yield Evidence("unanalysable-python", f"A module of {len(member.content)} bytes was not followed.")
        return
    if not _may_matter(member):
        return
    try:
        tree = parse(member.content)
    except (SyntaxError, ValueError):
        yield from _unparsable(member, stage, runs_first=runs_first)
        return
    except (RecursionError, MemoryError):
        yield Evidence("unanalysable-python", "A module is nested too deeply to be parsed.")
        return
    quiet = _is_quiet(path, stage)
    analysis = analyse(tree, as_program=stage == "install", latent=not quiet and _may_be_latent(member.text))
    yield from _evidence(analysis, stage, quiet=quiet, aside=quiet and _is_aside(path))
    if not analysis.complete:
        yield Evidence("unanalysable-python", "A module is too large or too deep to be followed to its end.")


def _evidence(analysis: Analysis, stage: str, *, quiet: bool, aside: bool = False) -> Iterator[Evidence]:
    for behaviour in analysis.behaviours:
        own = "latent" if behaviour.latent else stage
        unsaid = _LATENT_ONLY if own != "latent" else _LOW_PRECISION
        if behaviour.name in unsaid or (quiet and behaviour.name in _LOW_PRECISION):
            continue
        rule = "aside-behaviour" if aside else f"{own}-{behaviour.name}"
        message = f"{_WHEN[own]}: {behaviour.message[0].lower()}{behaviour.message[1:]}"
        yield Evidence(rule, message, line=behaviour.line)


def _stage_of(path: str) -> str:
    parts = path.split("/")
    if parts[-1] == "setup.py" and len(parts) <= 2:
        return "install"
    if parts[-1] in ("sitecustomize.py", "usercustomize.py"):
        return "startup"
    return "import"


def _is_quiet(path: str, stage: str) -> bool:
    folders = path.lower().split("/")[:-1]
    name = path.rpartition("/")[2].lower()
    return stage == "import" and (
        not QUIET_FOLDERS.isdisjoint(folders)
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def _is_aside(path: str) -> bool:
    """Beside the package, in the source archive's own folder of documentation or tests: no import leads there."""
    parts = path.lower().split("/")
    return len(parts) > 2 and parts[1] in _ASIDE_FOLDERS


def _may_matter(member: Member) -> bool:
    # Python folds identifiers with NFKC: letters of other alphabets' look-alike blocks still spell exec.
    text = member.text if member.content.isascii() else unicodedata.normalize("NFKC", member.text)
    return any(word in text for word in _WORDS)


def _may_be_latent(text: str) -> bool:
    def has(words: tuple[str, ...]) -> bool:
        return any(word in text for word in words)

    if has(_RUNNERS) and (has(_DECODERS) or has(_NETWORKS)):
        return True
    return has(_NETWORKS) and (has(_FACTS) or _KEYS.search(text) is not None)


def _unparsable(member: Member, stage: str, *, runs_first: bool) -> Iterator[Evidence]:
    found = _EXECUTED_BLOB.search(member.text)
    if found is not None:
        line = member.text.count("\n", 0, found.start()) + 1
        message = "In a file that this version of Python cannot parse, something decoded or downloaded is executed."
        yield Evidence(f"{stage}-decoded-execution", message, line=line)
    elif stage == "install":
        # A line that only newer versions can parse would otherwise hide all others.
        message = "Code that runs during installation is not Python as version 3.11 knows it; it was not followed."
        yield Evidence("unanalysable-python", message)
    elif runs_first:
        yield Evidence("unparsable-python", "This is not Python, as version 3.11 knows it; it was not followed.")


def _startup_lines(member: Member) -> Iterator[Evidence]:
    for number, line in enumerate(member.lines, start=1):
        # site.py executes exactly the lines that begin so.
        if not line.startswith(("import ", "import\t")) or _KNOWN_STARTUP_LINES.fullmatch(line):
            continue
        yield Evidence("startup-code", "A line of a .pth file runs whenever Python starts.", line=number)
        try:
            analysis = analyse(parse(line.strip()), as_program=False)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            yield Evidence("unanalysable-python", "A line of a .pth file cannot be parsed.", line=number)
            continue
        for evidence in _evidence(analysis, "startup", quiet=False):
            yield Evidence(evidence.rule, evidence.message, line=number)
