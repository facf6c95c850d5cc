"""What calls mean, alone and together: which behaviour each shows, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from wharfinger_daemon.checks.syntax import catalogue, folding
from wharfinger_daemon.checks.syntax.values import UNKNOWN, Constant, Taint, Value, made_from, taints_of, without_key

Report = Callable[[str, str], None]

_LEAKS = frozenset({Taint.HOST, Taint.SECRET})
_HIDDEN = frozenset({Taint.DECODED, Taint.DOWNLOADED})
_SOURCE_WORDS = ("import", "exec", "urlopen", "requests")
_FEWEST_NAME_CHARACTERS = 4


@dataclass(frozen=True)
class Call:
    """A call: ``path`` names the function, ``receiver`` is what the method ``method`` belongs to."""

    path: str
    receiver: Value
    arguments: Sequence[Value]
    keywords: Mapping[str, Value] = field(default_factory=dict)
    method: str = ""

    @property
    def inputs(self) -> tuple[Value, ...]:
        """All arguments."""
        return (*self.arguments, *self.keywords.values())

    @property
    def first(self) -> Value:
        """The first argument, or nothing known."""
        return self.arguments[0] if self.arguments else made_from(self.keywords.values())

    @property
    def name(self) -> str:
        """The last part of the function's name."""
        return self.method or self.path.rpartition(".")[2]


class Effects:
    """Remembers what happened so far in one module, and reports behaviours.

    Behaviours: ``decoded-execution``, ``download-execution``, ``downloaded-process``, ``suspicious-process``,
    ``network-process``, ``package-install``, ``network``, ``exfiltration``, ``key-disclosure``, ``reverse-shell``,
    ``disguised-call``, ``hidden-execution``, ``program-file``.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._connected = False
        self._duplicated = False
        self._written: list[tuple[Value, frozenset[Taint]]] = []
        self._sources: list[tuple[Value, Value]] = []

    def of(self, call: Call) -> Value:
        """Reports what the call does, and returns its result."""
        if call.path in catalogue.EXECUTORS:
            self.executed(call.first)
        elif call.path in catalogue.PROCESSES:
            return self._started(call)
        elif catalogue.is_network(call.path):
            return self._talked(call)
        elif call.path in catalogue.SENDERS or call.path in catalogue.LOOKUPS:
            self._sent(call)
        elif call.path == "os.dup2":
            self._duplicated = True
            self._tell_reverse_shell()
        elif call.name in ("write", "write_bytes", "write_text", "writelines", "copyfileobj"):
            self._wrote(call)
        return _result(call)

    def executed(self, code: Value) -> None:
        """Code is executed; where it came from decides."""
        if Taint.DOWNLOADED in code.taints:
            self._report("download-execution", "Code that was downloaded is executed.")
        elif {Taint.DECODED, Taint.SPELLED} & code.taints:
            self._report("decoded-execution", "Code that was decoded, decrypted or spelled out is executed.")
            self._tell_hidden([code])

    def started_sources(self, call: Call) -> list[Value]:
        """What was written before, as far as it is known, to files that this call starts."""
        parts = [part for value in call.inputs for part in value.walk()]
        identities = {id(part) for part in parts}
        command = made_from(call.inputs).visible
        return [
            source
            for place, source in self._sources
            if id(place) in identities or (len(place.text) >= _FEWEST_NAME_CHARACTERS and place.text in command)
        ]

    def disguised(self, path: str) -> None:
        """A function was reached by a name that was computed."""
        if path in catalogue.EXECUTORS or path in catalogue.PROCESSES or path in catalogue.IMPORTERS:
            self._report("disguised-call", f"{path} is called by a name that is put together so that none can see it.")

    def _started(self, call: Call) -> Value:
        taints = taints_of(call.inputs)
        command = made_from(call.inputs).visible
        written = self._written_among(call.inputs)
        suspicious = next((what for pattern, what in catalogue.SUSPICIOUS_COMMANDS if pattern.search(command)), None)
        if Taint.DOWNLOADED in taints | written:
            self._report("downloaded-process", "A program or command that was downloaded is started.")
        elif Taint.DECODED in taints | written:
            self._report("decoded-execution", "A program or command that was decoded is started.")
            self._tell_hidden(call.inputs)
        elif suspicious is not None:
            self._report("suspicious-process", f"A process is started: {suspicious}.")
        elif catalogue.NETWORK_COMMANDS.search(command):
            self._report("network-process", "A process is started that downloads.")
        elif catalogue.PACKAGE_INSTALLS.search(command):
            self._report("package-install", "Another package is installed by pip, outside the declared dependencies.")
        elif catalogue.PROGRAM_FILES.search(command):
            self._report("program-file", "A program or script is started by the name of its file.")
        self._tell_reverse_shell()
        harvested = catalogue.HARVESTING_COMMANDS.search(command) is not None
        return made_from(call.inputs, call.path + "()", {Taint.HOST} if harvested else ())

    def _talked(self, call: Call) -> Value:
        self._connected = self._connected or "connect" in call.name
        visible = made_from((call.receiver, *call.inputs)).visible
        if Taint.KEY in taints_of(call.inputs):
            self._report("key-disclosure", "A private key or seed phrase is sent to the network as it is.")
        # A connection to one's own host name gives nothing away, but for a name beneath somebody's domain.
        only_connects = "connect" in call.name and not catalogue.DOMAIN.search(visible)
        if _LEAKS & taints_of(call.inputs) and not only_connects:
            self._report("exfiltration", "Facts about the user or the machine are sent to the network.")
        elif not catalogue.LOOPBACK.search(visible):
            self._report("network", "The network is used.")
        if call.path in catalogue.SAVERS:
            target = call.keywords.get("filename", call.keywords.get("out"))
            targets = [*call.arguments[1:2], *([target] if target is not None else [])]
            self._written.extend((value, frozenset({Taint.DOWNLOADED})) for value in targets)
        asked = {Taint.HOST} if catalogue.IP_LOOKUPS.search(visible) else set()
        result = made_from(call.inputs, call.path + "()", {Taint.DOWNLOADED} | asked)
        if call.path in catalogue.SAVERS:
            self._written.append((result, frozenset({Taint.DOWNLOADED})))
        return result

    def _sent(self, call: Call) -> None:
        if not _LEAKS & taints_of(call.inputs):
            return
        # Looking up one's own host name is common; looking it up beneath somebody's domain carries it there.
        if call.path in catalogue.SENDERS or catalogue.DOMAIN.search(made_from(call.inputs).visible):
            self._report("exfiltration", "Facts about the user or the machine are sent to the network.")

    def _wrote(self, call: Call) -> None:
        taints = taints_of(call.inputs) & _HIDDEN
        places = [place for place in (call.receiver, *call.receiver.items, *call.arguments[1:2]) if _is_place(place)]
        if taints:
            self._written.extend((place, taints) for place in places)
        if any(word in call.first.text for word in _SOURCE_WORDS):
            self._sources.extend((place, call.first) for place in places)

    def _written_among(self, inputs: Sequence[Value]) -> frozenset[Taint]:
        parts = [part for value in inputs for part in value.walk()]
        identities = {id(part) for part in parts}
        command = made_from(inputs).visible
        found: frozenset[Taint] = frozenset()
        for place, taints in self._written:
            name = place.text or place.visible
            if id(place) in identities or (len(name) >= _FEWEST_NAME_CHARACTERS and name in command):
                found |= taints
        return found

    def _tell_hidden(self, inputs: Sequence[Value]) -> None:
        """What was decoded from outside may be anything; what stands encoded in the source was hidden there."""
        parts = [part for value in inputs for part in value.walk()]
        if any(part.constant is not None and Taint.DECODED in part.taints for part in parts):
            self._report("hidden-execution", "What is executed stands encoded in the source itself.")

    def _tell_reverse_shell(self) -> None:
        if self._connected and self._duplicated:
            self._report("reverse-shell", "Standard input and output are tied to a network connection.")


def _result(call: Call) -> Value:
    """What a call returns: a constant if it can be computed, otherwise something that depends on its inputs."""
    is_decoder = call.path in catalogue.DECODER_NAMES or call.name in catalogue.DECODER_METHODS
    extra: set[Taint] = set()
    if is_decoder:
        extra.add(Taint.DECODED)
    if call.path in catalogue.HOST_FACTS or _is_whole_environment(call):
        extra.add(Taint.HOST)
    if call.path == "builtins.chr":
        extra.add(Taint.SPELLED)
    if call.path in ("os.getenv", "os.environ.get") and call.first.text in catalogue.HOST_VARIABLES:
        extra.add(Taint.HOST)
    if call.name in ("recv", "recvfrom") and call.path.startswith("socket."):
        extra.add(Taint.DOWNLOADED)
    if _opens(call) and catalogue.SECRET_FILES.search(made_from(call.inputs).visible):
        extra.add(Taint.SECRET)
    inputs = call.inputs if call.receiver is UNKNOWN else (call.receiver, *call.inputs)
    constant = _constant(call)
    if constant is None:
        result = made_from(inputs, call.path and call.path + "()", extra)
        return without_key(result) if catalogue.KEY_USERS.fullmatch(call.path or call.name) else result
    return Value(constant=constant, taints=taints_of(inputs) | frozenset(extra), assembled=True)


def _is_place(value: Value) -> bool:
    """It may say where something was written; a bare module or function, or nothing known, does not."""
    return value is not UNKNOWN and (value.constant is not None or not value.path or "(" in value.path)


def _opens(call: Call) -> bool:
    return call.name in ("open", "Path", "read_text", "read_bytes", "glob", "listdir")


def _is_whole_environment(call: Call) -> bool:
    whole = call.path in ("os.environ.items", "os.environ.copy", "os.environ.values")
    return whole or (call.name in ("dict", "str", "repr", "dumps") and call.first.path == "os.environ")


def _constant(call: Call) -> Constant | None:
    constants = [value.constant for value in call.arguments]
    known = [constant for constant in constants if constant is not None]
    if len(known) != len(constants):
        return _of_display(call)
    if call.path in folding.DECODERS and known:
        return folding.decode(call.path, known[0])
    if call.path == "codecs.decode" and len(known) == 2:
        return folding.codec_decode(known[0], str(known[1]))
    if call.path == "builtins.chr" and known:
        return folding.character(known[0])
    if call.path == "builtins.ord" and known and isinstance(known[0], str) and len(known[0]) == 1:
        return ord(known[0])
    if call.path in ("builtins.str", "builtins.bytes") and len(known) == 2:
        return folding.method(call.first.text.encode(), "decode", known[1:])
    if call.path in ("builtins.str", "builtins.bytes", "builtins.bytearray") and known:
        return known[0] if isinstance(known[0], str | bytes) else None
    if isinstance(call.receiver.constant, str | bytes):
        return folding.method(call.receiver.constant, call.name, known)
    return None


def _of_display(call: Call) -> Constant | None:
    """Functions of one list of constants."""
    items = [item.constant for item in call.first.items]
    known = [constant for constant in items if constant is not None]
    if len(call.arguments) != 1 or not known or len(known) != len(items):
        return None
    if call.name == "join" and isinstance(call.receiver.constant, str | bytes):
        return folding.join(call.receiver.constant, known)
    if call.path in ("builtins.bytes", "builtins.bytearray"):
        return folding.byte_string(known)
    return None


def source_of(call: Call) -> Value:
    """The Python source that a call runs: what exec is given, or what stands behind ``-c`` of a command."""
    if call.path in catalogue.EXECUTORS:
        return call.first
    words = call.first.items
    for flag, source in pairwise(words):
        if flag.constant == "-c":
            return source
    return UNKNOWN
