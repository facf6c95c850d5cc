"""Evidence with its syntax highlighted: markup of classes alone, in which all text of the evidence is escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from markupsafe import Markup
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers.configs import IniLexer, TOMLLexer
from pygments.lexers.data import JsonLexer, YamlLexer
from pygments.lexers.html import HtmlLexer
from pygments.lexers.javascript import JavascriptLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.shell import BashLexer, PowerShellLexer
from pygments.lexers.special import TextLexer

# Chosen by us and no more of them: Pygments knows hundreds, some of which take long for hostile text.
_LEXERS: dict[str, type[Lexer]] = {
    ".py": PythonLexer,
    ".pyi": PythonLexer,
    ".pyw": PythonLexer,
    ".pth": PythonLexer,
    ".sh": BashLexer,
    ".ps1": PowerShellLexer,
    ".js": JavascriptLexer,
    ".json": JsonLexer,
    ".yaml": YamlLexer,
    ".yml": YamlLexer,
    ".toml": TOMLLexer,
    ".cfg": IniLexer,
    ".ini": IniLexer,
    ".html": HtmlLexer,
}
_FORMATTER = HtmlFormatter(nowrap=True)
_MOST_CHARACTERS = 1000


def highlighted(excerpt: str, member: str) -> Markup:
    """The excerpt of a member of an archive, at most 1,000 characters of it."""
    suffix = PurePosixPath(member).suffix.lower()
    lexer = _lexer(suffix if suffix in _LEXERS else "")
    # The formatter escapes what it is given, which a test holds it to.
    return Markup(highlight(excerpt[:_MOST_CHARACTERS], lexer, _FORMATTER).rstrip("\n"))  # noqa: S704


@lru_cache(maxsize=len(_LEXERS) + 1)
def _lexer(suffix: str) -> Lexer:
    return _LEXERS.get(suffix, TextLexer)(stripnl=False)
