"""Bad input gets one clear error at once: what was given, and what is allowed."""


def check(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raise ValueError unless it holds."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Raise ValueError unless `value` is a whole number from `least` to `most`; True and False are none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    up_to = "" if most is None else f" to {'2**32 - 1' if most == 2**32 - 1 else most}"
    holds = whole and least <= value and (most is None or value <= most)  # type: ignore[operator]
    check(holds, name, value, f"whole numbers from {least}{up_to}")
