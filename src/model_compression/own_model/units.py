"""Amounts with their units, as typed on a command line: "0.5pp", "16 KiB", "250us"."""

import re

_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?([A-Za-z%]+)")

BYTES = {"B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2}
MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
#: Percentage points of accuracy, and per cent of an error.
POINTS = {"pp": 0.01, "%": 0.01}


def _parse(text: str, units: dict[str, float], example: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(
            f"{text!r} is no amount: allowed is a number and one of {', '.join(units)}, such as {example}"
        )
    return float(found[1]) * units[found[2]]


def parse_drop(text: str) -> tuple[float, str]:
    """A fraction and its unit: "0.5pp" is (0.005, "pp"), percentage points; "5%" of an error (0.05, "%").

    Raises:
        ValueError: anything else, or more than 100.
    """
    fraction = _parse(text, POINTS, "0.5pp")
    if fraction > 1:
        raise ValueError(f"{text!r} is more than 100{'%' if text.endswith('%') else 'pp'}")
    return fraction, "%" if text.endswith("%") else "pp"


def parse_bytes(text: str) -> float:
    """Bytes: "16KB" is 16,000, "16 KiB" 16,384.

    Raises:
        ValueError: anything else, or nothing at all.
    """
    return _above_zero(text, _parse(text, dict(BYTES), "16KB or 16 KiB"))


def parse_microseconds(text: str) -> float:
    """Microseconds: "250us", "1.5ms".

    Raises:
        ValueError: anything else, or nothing at all.
    """
    return _above_zero(text, _parse(text, dict(MICROSECONDS), "250us"))


def parse_minutes(text: str) -> float:
    """A number of minutes: "10", "0.5".

    Raises:
        ValueError: anything else, or nothing at all.
    """
    found = re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", text)
    if found is None:
        raise ValueError(f"{text!r} is no amount: allowed is a number of minutes, such as 10 or 0.5")
    return _above_zero(text, float(text))


def _above_zero(text: str, value: float) -> float:
    if value <= 0:
        raise ValueError(f"{text!r} is nothing: allowed is more than 0")
    return value
