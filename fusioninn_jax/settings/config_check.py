"""A configuration against its defaults: unknown settings, values of another kind, numbers out of range.

Checked once, before the data are opened, so that a slip is told in one line and not as an error from deep inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import NamedTuple

import ml_collections

from fusioninn_jax.runtime.nearest import nearest


class Rule(NamedTuple):
    """What a setting may be, beside the type of its default.

    Attributes:
      allows: whether it may be this.
      wanted: what it should be, for the message.
      words: all that it may be, where these are words.
    """

    allows: Callable[..., bool]
    wanted: str
    words: tuple[str, ...] = ()


def at_least(least: float) -> Rule:
    """A number from `least` on."""
    return Rule(lambda value: value >= least, f"{least:g} or more")


def between(least: float, most: float) -> Rule:
    """A number from `least` to `most`, both allowed."""
    return Rule(lambda value: least <= value <= most, f"from {least:g} to {most:g}")


def above(least: float, most: float = math.inf) -> Rule:
    """A number above `least`, and below `most`."""
    return Rule(lambda value: least < value < most, f"above {least:g}" + (f" and below {most:g}" if most < 1e9 else ""))


def one_of(choices: Sequence[str]) -> Rule:
    """One of `choices`; an empty one among them stands for nothing."""
    named = [choice for choice in choices if choice]
    wanted = f"one of {', '.join(named)}" + (", or nothing" if len(named) < len(choices) else "")
    return Rule(lambda value: value in choices, wanted, tuple(named))


def each_in(least: int, most: int) -> Rule:
    """Whole numbers from `least` to `most`, any number of them."""
    return Rule(
        lambda values: all(_whole(value) and least <= value <= most for value in values),
        f"whole numbers from {least} to {most}, such as 1,2",
    )


def size(least: int) -> Rule:
    """Height and width, each from `least` on, or ()."""
    return Rule(
        lambda values: len(values) in (0, 2) and all(_whole(value) and value >= least for value in values),
        "height and width, such as 64,64 (or '()' for none)",
    )


def check(
    config: ml_collections.ConfigDict, defaults: ml_collections.ConfigDict, rules: Mapping[str, Rule], prefix: str = ""
) -> None:
    """Compares a configuration, or a part of one, with its defaults.

    Args:
      config: as a whole, or a part of it.
      defaults: the same, with every setting.
      rules: dotted name of a setting -> what it may be.
      prefix: stands before the names in messages.

    Raises:
      ValueError: names the first setting that is wrong, and how to mend it.
    """
    _check(config.to_dict(), defaults.to_dict(), rules, prefix)


def _check(
    config: Mapping[str, object], defaults: Mapping[str, object], rules: Mapping[str, Rule], prefix: str
) -> None:
    for key in config:
        if key not in defaults:
            close = nearest(str(key), defaults, cutoff=0.5)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(defaults)}"
            raise ValueError(f"{prefix}{key}: there is no such setting; {hint}")
    for key, default in defaults.items():
        name = f"{prefix}{key}"
        if key not in config:
            raise ValueError(f"{name}: is missing; start from configs/default.py, which has every setting")
        value = config[key]
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise ValueError(f"{name}: is {_shown(value)}; it must be a group of settings: {', '.join(default)}")
            below = {rule[len(key) + 1 :]: what for rule, what in rules.items() if rule.startswith(f"{key}.")}
            _check(value, default, below, f"{name}.")
            continue
        rule = rules.get(key)
        if not _is_like(value, default) or (rule and not rule.allows(value)):
            is_number = not isinstance(default, tuple | list | str | bool)
            wanted = [_kind(default)] if is_number or not rule else []
            near = nearest(str(value), rule.words) if rule else None
            wanted += [rule.wanted] if rule else []
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"{name}: is {_shown(value)}; give {', '.join(wanted)}{hint}")


def _is_like(value: object, default: object) -> bool:
    """Whether a value has the type of the default: whole numbers stand for others too, lists for tuples."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, Integral):
        return isinstance(value, Integral)
    if isinstance(default, Real):
        return isinstance(value, Real) and math.isfinite(value)
    if isinstance(default, tuple | list):
        return isinstance(value, tuple | list) and _are_whole(value)
    return isinstance(value, type(default))


def _are_whole(values: Sequence[object]) -> bool:
    return all(_are_whole(value) if isinstance(value, tuple | list) else _whole(value) for value in values)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _kind(default: object) -> str:
    kinds = (
        (bool, "True or False"),
        (Integral, "a whole number"),
        (Real, "a number"),
        (tuple | list, "whole numbers, such as 1,2"),
        (str, "a text"),
    )
    return next((text for kind, text in kinds if isinstance(default, kind)), f"a {type(default).__name__}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
