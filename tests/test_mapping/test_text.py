"""Names from others are text in every format, and nothing that the format obeys."""

import csv
import io
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mapping.text import FORMULA_STARTS, for_csv, for_html, for_name, for_terminal, for_xml

HOSTILE = [
    "[/x]",
    "[bold red]",
    "\x1b[2J",
    "a\nb",
    "\u202egnp.exe",
    "<script>",
    "&amp;",
    '"><b>',
    "\udcff",
    "\x00",
    "=1+1",
    "Küche 🛋",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_shows_and_obeys_nothing(text):
    shown = for_terminal(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


def test_a_terminal_shows_controls_as_python_does():
    assert for_terminal("a\x1b[31m\n\u202e\udcff") == r"a\x1b[31m\n\u202e\udcff"


@pytest.mark.parametrize("text", HOSTILE)
def test_html_has_no_elements_or_attributes_of_the_text(text):
    events = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            events.append((tag, dict(attrs)))

        def handle_data(self, data):
            events.append(data)

    parser = Parser()
    parser.feed(f'<p title="{for_html(text)}">{for_html(text)}</p>')
    parser.close()
    assert events[0][0] == "p"
    assert events[0][1]["title"] == for_xml(text)
    assert "".join(events[1:]) == for_xml(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_xml_can_be_read_again(text):
    element = ElementTree.Element("a")
    element.text = for_xml(text)
    assert ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8")).text == for_xml(text)


def test_what_xml_lacks_is_replaced():
    assert for_xml("a\x00\ud800\ufffe b\tc") == "a\ufffd\ufffd\ufffd b\tc"


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_cell_is_a_formula(start):
    text = io.StringIO()
    csv.writer(text).writerow([for_csv(f"{start}cmd|'/C calc'!A0"), for_csv("chair"), for_csv("")])
    first, second, third = next(csv.reader(io.StringIO(text.getvalue(), newline="")))
    assert first.startswith("'")
    assert (second, third) == ("chair", "")


def test_a_name_is_one_word():
    assert for_name("O1_night stand\nv 0 0 0\x1b") == "O1_night_stand_v_0_0_0_"
