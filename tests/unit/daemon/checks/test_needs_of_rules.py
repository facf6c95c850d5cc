"""What the needs of YARA rules promise: where one does not hold, no rule matches."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files

import pytest
import yara_x
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from wharfinger_daemon.checks.rule_needs import need_of_rules
from wharfinger_daemon.checks.rule_needs.regexes import need_of_regex
from wharfinger_daemon.scanning.needs import AllOf, AnyOf, Literal, Need, Run, compiled

_PACK = {
    item.name: item.read_text(encoding="utf-8")
    for item in sorted((files("wharfinger_daemon.checks") / "rules").iterdir(), key=lambda item: item.name)
    if item.name.endswith(".yar")
}
_REGEXES = sorted(
    {found for text in _PACK.values() for found in re.findall(r"\$\w+ = /((?:[^/\\\n]|\\.)+)/[is]*", text)}
    | {
        r"(a|bc)+def",
        r"x{3}yz(foo)?bar",
        r"[Aa]bc|def{2,3}",
        r"ab(cd){2}ef",
        r"\bnop\b.*qrs",
        r"[^a]{20}x",
        r"(ab|c)d[ef]ghi",
    }
)


def _holds(need: Need, content: bytes) -> bool:
    return need.holds({atom for atom in need.atoms() if compiled(atom).search(content)})


@pytest.mark.parametrize("pattern", _REGEXES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_pattern_matches_holds_what_it_needs(pattern: str, data: st.DataObject) -> None:
    """Every text that is generated from the pattern satisfies the need, however it is cased and surrounded."""
    text = data.draw(st.from_regex(re.compile(pattern.encode()), alphabet=None))
    around = data.draw(st.binary(max_size=3))
    recased = data.draw(st.sampled_from([bytes.lower, bytes.upper, bytes]))
    need = need_of_regex(pattern)
    assert _holds(need, around + text + around)
    assume(not isinstance(text, str))
    assert _holds(need, recased(text))


def _shown(need: Need) -> str:
    if isinstance(need, Run):
        return f"{len(need.values)}x{need.length}"
    if isinstance(need, Literal):
        return need.text
    assert isinstance(need, AllOf | AnyOf)
    parts = [_shown(part) for part in need.needs]
    if isinstance(need, AnyOf):
        return "1" if "1" in parts else parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"
    kept = [part for part in parts if part != "1"]
    return "1" if not kept else kept[0] if len(kept) == 1 else f"({'&'.join(kept)})"


@pytest.mark.parametrize(
    ("pattern", "need"),
    [
        ("exec", "exec"),
        ("(exec|eval)", "(eval|exec)"),
        (r"os\.system\s{0,4}\(", "os.system"),
        (r"discord(app)?\.com\/api", "(discord.com/api|discordapp.com/api)"),
        (r"[A-Za-z0-9+\/]{400,800}", "64x400"),
        (r"a{2000}", "1x1000"),
        (r"\S[ \t]{150,2000}x?(exec|eval)", "(2x150&(eval|exec|xeval|xexec))"),
        (r"foo.*(bar.*baz|quux)", "(foo&((bar&baz)|quux))"),
        (r"(foo|ba)", "1"),
        (r"(foo)?", "1"),
        (r"(\d{1,3}, ?){150,200}", "1"),
        (r"(foo\d){2,}", "foo"),
        (r"[^x]{30}", "1"),
    ],
)
def test_needs_of_patterns(pattern: str, need: str) -> None:
    assert need == _shown(need_of_regex(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        r"\<foo",
        r"foo\>",
        r"[a[b]]foo",
        r"[[:alpha:]]foo",
        r"[a&&b]foo",
        r"(?i)foo",
        r"foo{1, 2}",
        r"foo{,2}",
        "fóo",
        r"\p{L}foo",
        r"foo(",
        r"\x{41}foo",
    ],
)
def test_what_two_readers_could_take_differently_needs_nothing(pattern: str) -> None:
    assert "1" == _shown(need_of_regex(pattern))


@pytest.mark.parametrize(
    ("condition", "need"),
    [
        ("$a", "alpha"),
        ("$a and $b", "(alpha&beta)"),
        ("$a or $b and $c1", "(alpha|(beta&gamma))"),
        ("($a or $b) and $c1", "((alpha|beta)&gamma)"),
        ("not $a and $b", "beta"),
        ("not ($a or $b)", "1"),
        ("any of them", "(alpha|beta|gamma|delta)"),
        ("all of them", "(alpha&beta&gamma&delta)"),
        ("2 of ($c*)", "(gamma|delta)"),
        ("all of ($a, $c*)", "(alpha&gamma&delta)"),
        ("none of them", "1"),
        ("0 of them", "1"),
        ("50% of them", "1"),
        ("#a > 1", "alpha"),
        ("#a >= 2 and $b", "(alpha&beta)"),
        ("#a >= 0", "1"),
        ("#a < 3", "1"),
        ("#a == 0", "1"),
        ("#a + #b > 3", "1"),
        ("#a > 1 + 1 and $b", "beta"),
        ("(#a + 1) > 2 and $b", "beta"),
        ("$a at 0", "alpha"),
        ("$a in (0..100) and $b", "(alpha&beta)"),
        ("@a[1] < 100 and $b", "beta"),
        ("for any of ($c*) : ( # > 3 or $ at 0 ) and $a", "alpha"),
        ("for all i in (1..#a) : ( @a[i] < 100 ) and $b", "beta"),
        ("filesize < 1MB and $b", "beta"),
        ('member endswith ".py" and $b', "beta"),
        ('$a and (member endswith ".py" or member contains "x and y")', "alpha"),
        ("any of them in (0..filesize)", "1"),
        ("true", "1"),
    ],
)
def test_needs_of_conditions(condition: str, need: str) -> None:
    """And that the compiler takes the condition, so that the table shows real ones."""
    named = re.sub(r"([$#@])([abc])", r"\1_\2", condition)  # the compiler lets such names be unused
    source = f"""
    /* a comment with rule x {{ */
    rule tried : tag
    {{
      meta:
        note = "condition: $z // no comment"
        number = -1
      strings:
        $_a = "alpha" nocase // comment
        $_b = /be(ta)/
        $_c1 = "gamma" fullword
        $_c2 = "delta" private
      condition:
        {named}
    }}"""
    compiler = yara_x.Compiler()
    compiler.define_global("member", "")
    compiler.add_source(source)
    assert need == _shown(need_of_rules([source], [rule.identifier for rule in compiler.build()]))


@pytest.mark.parametrize(
    "value",
    [
        '"alpha" wide',
        '"alpha" xor',
        '"alpha" xor(0x01-0xff)',
        '"alpha" base64',
        '"al"',
        '"alph\\xe9"',
        "{ 61 6C 70 ?? [1-3] ( 61 | 62 ) }",
    ],
)
def test_patterns_that_stand_otherwise_in_the_text_need_nothing(value: str) -> None:
    source = f"rule tried {{ strings: $a = {value} condition: $a }}"
    assert "1" == _shown(need_of_rules([source], [rule.identifier for rule in yara_x.compile(source)]))


def test_escapes_in_texts_are_read() -> None:
    source = r'rule tried { strings: $a = "a\"b\\c\td\x41" condition: $a }'
    assert 'a"b\\c\tda' == _shown(need_of_rules([source], ["tried"]))


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (['rule a { strings: $a = "alpha" condition: $a }'], ["a", "b"]),
        (["rule a { condition: "], ["a"]),
        (["rule a } condition"], ["a"]),
        (["é"], ["a"]),
        (["rule a { condition: " + "(" * 5000], ["a"]),
    ],
    ids=["another rule", "no end", "no body", "no token", "too deep"],
)
def test_a_pack_that_is_not_understood_needs_nothing(sources: list[str], names: list[str]) -> None:
    assert "1" == _shown(need_of_rules(sources, names))


def test_a_private_rule_needs_nothing_of_its_own() -> None:
    """It is never reported; where another refers to it, it may be true."""
    source = """
    private rule program { condition: member endswith ".py" }
    rule tried { strings: $a = "alpha" condition: program and #a > 20 }
    rule other { strings: $a = /\\b[Il1O0]{8,40}\\b/ condition: not program and $a }
    """
    compiler = yara_x.Compiler()
    compiler.define_global("member", "")
    compiler.add_source(source)
    assert "(alpha|5x8)" == _shown(need_of_rules([source], [rule.identifier for rule in compiler.build()]))


def test_rules_of_several_files_are_alternatives() -> None:
    """Imports, private and global rules are understood."""
    sources = [
        'import "math" private rule a { strings: $ = "alpha" $ = "beta" condition: all of them }',
        'global rule b { strings: $b = "gamma" condition: $b } rule c { condition: false or 1 of (a, b) }',
    ]
    assert "1" == _shown(need_of_rules(sources, ["a", "b", "c"]))
    assert "(alpha&beta)" == _shown(need_of_rules([sources[0].replace("private ", "")], ["a"]))


@pytest.mark.parametrize("make", [str.upper, str.lower, str])
def test_the_built_in_pack_needs_something(make: Callable[[str], str]) -> None:
    """One rule that needs nothing would have the whole pack see every member."""
    compiler = yara_x.Compiler()
    compiler.define_global("member", "")
    for text in _PACK.values():
        compiler.add_source(text)
    need = need_of_rules(_PACK.values(), [rule.identifier for rule in compiler.build()])
    assert not _holds(need, make("import os\nprint('nothing here')\n").encode())
