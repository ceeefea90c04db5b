"""Each function of ``core/escaping.py`` against a reader of its format."""

import html.parser
import json
import shlex
import sys
from pathlib import Path

import pytest
from hostile import NAMES, Page, assert_is_text_for_a_terminal, cells_of_markdown

from semiseg_lib.core import escaping, terminal
from semiseg_lib.core.escaping import Markdown
from semiseg_lib.core.paths import CHECKOUT, shown

PLAIN = ("car", "traffic light", "mon_chéri", "naïve–bird", "猫", "Straße 12", "a-b", "50 %",
         "‌می‌خواهم", "👩‍🚒", "x = 3", "A (b), c; d: e.", "24 + 800", "2.5 # 3")
"""Names with nothing to escape, some with joiners, which are kept."""


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_stays_as_it_is(name):
    for escape in (escaping.visible, escaping.terminal, escaping.html, escaping.markdown,
                   escaping.figure, escaping.csv):
        assert escape(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_visible_is_one_line_and_the_same_twice(name):
    seen = escaping.visible(name)
    assert len(seen.splitlines()) == 1 and seen.encode("utf-8")
    assert escaping.visible(seen) == seen
    assert_is_text_for_a_terminal(seen)


def test_what_shows_nothing_is_written_as_python_writes_it():
    assert escaping.visible("a\x1b\t\n\r\x9b\u202e\u2028\udce9b") == (
        r"a\x1b\t\n\r\x9b\u202e\u2028\udce9b")
    assert escaping.listed(["a", "\x07"]) == r"a, \x07"


def test_a_message_keeps_its_lines():
    assert escaping.terminal("a\n\tb\x1b[1m\n") == "a\n        b\\x1b[1m\n"


@pytest.mark.parametrize("name", NAMES)
def test_html_is_text_to_a_parser(name):
    page = Page(f'<td title="{escaping.html(name)}">{escaping.html(name)}</td>')
    assert page.cells == [escaping.visible(name)]
    assert page.tags == [("td", {"title": escaping.visible(name)})]


@pytest.mark.parametrize("name", NAMES)
def test_data_of_a_script_come_back_whole(name):
    data = escaping.script_data({"names": [name], name: 1})
    assert data.isascii() and not set("<>&\n\r") & set(data)
    assert json.loads(data) == {"names": [name], name: 1}
    page = Page(f"<script>{data}</script><p>")
    assert page.scripts == [data] and [tag for tag, _ in page.tags] == ["script", "p"]


@pytest.mark.parametrize("name", NAMES)
def test_markdown_is_text_to_a_parser(name):
    text = escaping.markdown(name)
    assert cells_of_markdown(text) == [escaping.visible(name)]
    table = f"| a | b |\n|---|---|\n| {text} | {text} |"
    assert cells_of_markdown(table) == ["a", "b", escaping.visible(name), escaping.visible(name)]


def test_what_is_markdown_already_is_left():
    assert escaping.markdown(Markdown("**a**")) == "**a**"
    assert escaping.markdown("**a**") == r"\*\*a\*\*"


@pytest.mark.parametrize(("name", "cell"), [
    ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), (" =1", "' =1"),
    ("＝1", "'＝1"), ("\t=1", r"\t=1"), ("\r=1", r"\r=1"), ("a=1", "a=1"),
])
def test_a_spreadsheet_takes_no_text_for_a_formula(name, cell):
    assert escaping.csv(name) == cell


def test_numbers_stay_numbers_in_a_spreadsheet():
    assert escaping.csv(-1.5) == -1.5 and escaping.csv(None) is None


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_is_one_word_to_a_shell(name):
    assert shlex.split(escaping.shell(name)) == [escaping.visible(name)]


def test_a_simple_argument_is_quoted_as_windows_reads_it():
    assert escaping.shell("label errors") == '"label errors"' and escaping.shell("a/b") == "a/b"


def test_a_path_is_shown_on_one_line():
    assert shown(Path("/a") / "b\x1b[1m\nc") == r"/a/b\x1b[1m\nc"
    assert shown(CHECKOUT / "data" / "x\u202e") == r"data/x\u202e"


def test_messages_and_bars_are_text(capsys):
    terminal.say("a\x1b[2J\nb\r")
    terminal.say("c\x07", sys.stderr)
    for _ in terminal.progress_bar(range(2), desc="d\x1b[1m\n", mininterval=0):
        terminal.say("e\x9b")
    said = capsys.readouterr()
    assert said.out == "a\\x1b[2J\nb\\r\n" + "e\\x9b\n" * 2
    assert "c\\x07\n" in said.err and r"d\x1b[1m\n:" in said.err
    assert_is_text_for_a_terminal(said.err, moving=True)


def test_the_parser_of_these_tests_would_notice():
    page = Page("<td onclick=x>&lt;<img src=x></td>")
    assert page.handlers == ["onclick"] and ("img", {"src": "x"}) in page.tags
    with pytest.raises(AssertionError):
        Page("<!-- x -->")
    for text in ("**a**", "[a](b)", "<b>", "$x$", "`a`", "~~a~~", "# a", "- a", "![a](b)"):
        with pytest.raises(AssertionError):
            cells_of_markdown(text)
    with pytest.raises(AssertionError):
        assert_is_text_for_a_terminal("a\x1b[1m")
    assert issubclass(Page, html.parser.HTMLParser)
