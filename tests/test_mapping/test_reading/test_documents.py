"""JSON and YAML that attack a reader end in one line that begins with the file."""

import math

import pytest

from mapping.reading.documents import parse_json, parse_yaml, read_json, read_yaml
from mapping.reading.files import shown


class BadFileError(ValueError):
    """What the caller of a reader raises."""


def refusal(parse, text, **options):
    with pytest.raises(BadFileError) as caught:
        parse(text, "f", BadFileError, **options)
    message = str(caught.value)
    assert message.startswith("f")
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"f line 1: not readable as JSON: Expecting property name"),
        ('{"a": ' + "9" * 400 + "}", "does not fit into 64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "does not fit into 64 bits"),
        ('{"a": -9223372036854775809}', "does not fit into 64 bits"),
        ('{"a": 1e400}', "1e400 is too large for a number"),
        ('{"a": ' + "9" * 400 + ".0}", "is too large for a number"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 50_000, "nested too deeply"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ('["' + "]" * 99 + '",' + "[" * 65 + "]" * 65 + "]", "nested too deeply"),
        ('["\\u0000"]', "NUL"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
    ],
)
def test_json_is_refused(text, message):
    assert message in refusal(parse_json, text)


def test_json_within_the_limits_is_read():
    nested = "[" * 64 + "]" * 64
    assert parse_json(nested, "f", BadFileError) == eval(nested)
    text = '{"a": [9223372036854775807, -1.5e300, "]]][[[", "\\ud83d\\ude00", "\\\\\\""]}'
    assert parse_json(text, "f", BadFileError) == {"a": [2**63 - 1, -1.5e300, "]]][[[", "\N{GRINNING FACE}", '\\"']}
    assert math.isnan(parse_json("NaN", "f", BadFileError, finite=False))


def test_a_repeated_name_is_refused_where_names_are_unique():
    assert "appears twice" in refusal(parse_json, '{"a": 1, "a": 2}', unique=True)
    assert parse_json('{"a": 1, "a": 2}', "f", BadFileError) == {"a": 2}


def bomb(levels):
    """Nine aliases of nine aliases and so on."""
    names = "abcdefghijklmnop"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{names[i]}: &{names[i]} [{', '.join(['*' + names[i - 1]] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def merging(levels):
    """The same of mappings that are merged."""
    names = "abcdefghijklmnop"
    return "\n".join(
        f"{names[i]}: &{names[i]} {{<<: [{', '.join(['*' + names[i - 1]] * 9)}]}}" for i in range(1, levels)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not readable as YAML"),
        ("[" * 50_000, "nested too deeply"),
        ("- " * 70 + "x", "nested too deeply"),
        (bomb(12), "repeated ones counted each time"),
        ("z: &a {k: 1}\n" + merging(12), "repeated ones counted each time"),
        ("a: &a [*a]", "stands for what contains it"),
        ("a: " + "9" * 400, "does not fit into 64 bits"),
        ("a: " + "9" * 5000, "does not fit into 64 bits"),
        ("a: 0x" + "f" * 17, "does not fit into 64 bits"),
        ("a: " + "9:" * 30 + "9", "does not fit into 64 bits"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ('a: "\\0"', "NUL"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable"),
        ("a: 1\nb: 2\na: 3", "'a' appears twice, again in line 3"),
        ("a: [{b: 1, 'b': 2}]", "'b' appears twice, again in line 1"),
        ("1: a\n1: a", "'1' appears twice"),
        ("a: &x {k: 1}\nb: {<<: *x, <<: *x}", "'<<' appears twice, again in line 2"),
    ],
)
def test_yaml_is_refused(text, message):
    assert message in refusal(parse_yaml, text)


def test_yaml_within_the_limits_is_read():
    assert parse_yaml("a: &x [1, 0x10, 1_000, .inf]\nb: *x\nc: {<<: {d: 2}}", "f", BadFileError) == {
        "a": [1, 16, 1000, math.inf],
        "b": [1, 16, 1000, math.inf],
        "c": {"d": 2},
    }
    merged = "a: &x {k: 1, l: 1}\nb: {<<: *x, l: 2, 1: 3, '1': 4}"
    assert parse_yaml(merged, "f", BadFileError)["b"] == {"k": 1, "l": 2, 1: 3, "1": 4}
    assert parse_yaml("", "f", BadFileError) is None


@pytest.mark.parametrize("read", [read_json, read_yaml])
@pytest.mark.parametrize(
    ("data", "message"), [(b"\xff", "is not text (byte 0 is not UTF-8)"), (b"a\0b", "is not text (it contains NUL")]
)
def test_files_that_are_no_text(tmp_path, read, data, message):
    path = tmp_path / "f"
    path.write_bytes(data)
    with pytest.raises(BadFileError) as caught:
        read(path, BadFileError)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_values_are_shown_short():
    endless = parse_yaml(bomb(5), "f", BadFileError)
    assert len(shown(endless)) <= 80
    assert shown([1, "a", {"b": 2.5}]) == "[1, 'a', {'b': 2.5}]"
    assert shown("x" * 1000) == "'" + "x" * 76 + "..."
    assert shown(10**5000) == "a whole number of many digits"
