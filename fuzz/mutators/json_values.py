"""Mutates JSON: its values by their structure, its text by what parsers disagree about."""

import json
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 1023, 4095, 4096),
    *(-1, -2, 65534, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**47, 2**48 - 1, 2**48),
    *(2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**15, 10**16, 10**20, -(2**63)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 1e-45, 1e-320, 3e38, 1e39, 1e308, -1e6, 1e6),
)
STRINGS: tuple[Any, ...] = (
    *("", "a", "é", "\0", "\x7f", "\u2028", "\ud800", "\U0001f600", "a" * 65, "1", "01", "-1"),
    *("null", "true", "../x", "/x", "cls", "labels", "[]", "{}", "0" * 64, "A" * 64, "x" * 500),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [0, 1], ["a", "a"])
# Text that a strict parser refuses, or must understand.
TOKENS = (
    *('"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\t", "\0", "\x0b", "\x7f", "\ufeff"),
    *("NaN", "Infinity", "-Infinity", "-0", "1.0", "1e1", "1e999", "01", "+1", ".5", "1.", "true"),
    *(
        "null",
        '""',
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\x"',
        "'a'",
        "/**/",
        "9" * 400,
    ),
    *("[" * 40, '{"a":' * 40, "1" * 15, "1" * 16, "-" + "1" * 15, "0.1e-7", "\\u0061"),
)


def mutate_json(noise: Random, value: Any, words: tuple[Any, ...] = ()) -> Any:
    """Gives `value` with one place of its tree changed; `words` are values that it knows."""
    holders: list[tuple[Any, Any]] = []
    root = [value]
    _list_holders(root, holders)
    holder, key = noise.choice(holders)
    kind = noise.randrange(10)
    if kind < 5:
        holder[key] = _value(noise, holder[key], words)
    elif kind == 5 and holder is not root:
        del holder[key]
    elif kind == 6:
        source, name = noise.choice(holders)
        holder[key] = _copied(source[name])
    elif kind == 7 and isinstance(holder, list) and holder is not root:
        holder.insert(key, _copied(holder[key]))
    elif kind == 8 and isinstance(holder, dict):
        holder[str(noise.choice((*STRINGS, *words)))] = holder.pop(key)
    elif isinstance(holder[key], dict):
        holder[key][str(noise.choice((*STRINGS, *words)))] = _value(noise, None, words)
    elif isinstance(holder[key], list):
        noise.shuffle(holder[key])
        holder[key].append(_value(noise, None, words))
    else:
        holder[key] = _value(noise, holder[key], words)
    return root[0] if root else None


def mutate_json_text(noise: Random, text: str) -> str:
    """Gives `text` with a token put in or in another's place, or a member that stands twice."""
    at = noise.randrange(len(text) + 1)
    kind = noise.randrange(4)
    if kind == 0:
        return text[:at] + noise.choice(TOKENS) + text[at:]
    if kind == 1:
        end = at
        while end < len(text) and (text[end].isalnum() or text[end] in ".-+"):
            end += 1
        return text[:at] + noise.choice(TOKENS) + text[end or at + 1 :]
    if kind == 2:
        begin, end = text.find(",", at), text.find(",", text.find(",", at) + 1)
        return text[:end] + text[begin:end] + text[end:] if 0 <= begin < end else text
    return text[:at] + text[at + noise.randrange(1, 9) :]


def written(noise: Random, value: Any) -> str:
    """Writes a value as JSON, in one of the ways that mean the same."""
    compact = noise.random() < 0.7
    return json.dumps(
        value,
        ensure_ascii=noise.random() < 0.3,
        separators=(",", ":") if compact else None,
    )


def _list_holders(value: Any, holders: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        holders.append((value, key))
        if isinstance(value[key], dict | list):
            _list_holders(value[key], holders)


def _value(noise: Random, old: Any, words: tuple[Any, ...]) -> Any:
    kind = noise.randrange(5)
    if kind == 0 and isinstance(old, int | float):
        return old + noise.choice((-1, 1, -old, old))
    if kind == 1 and words:
        return _copied(noise.choice(words))
    if isinstance(old, int | float) and kind < 4:
        return noise.choice(NUMBERS)
    if isinstance(old, str) and kind < 4:
        return noise.choice(STRINGS)
    return _copied(noise.choice(noise.choice((NUMBERS, STRINGS, OTHERS))))


def _copied(value: Any) -> Any:
    """Gives a list or an object of its own, since it is changed where it lies."""
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value
