"""Bad input gets one clear error: what was given, and what is allowed."""

import pytest
from conftest import exactly

from model_compression.checks import check, check_whole


def test_what_holds_passes_and_what_does_not_is_named_with_what_is_allowed() -> None:
    check(True, "share", 2, "0 to 1")
    with pytest.raises(ValueError, match=exactly("share is 2; allowed: 0 to 1")):
        check(False, "share", 2, "0 to 1")


@pytest.mark.parametrize("value", [0, 4, 2.0, True, None, "2", float("nan")])
def test_whole_numbers_alone_are_whole(value: object) -> None:
    with pytest.raises(ValueError, match=exactly(f"count is {value!r}; allowed: whole numbers from 1 to 3")):
        check_whole("count", value, 1, 3)


def test_limits_belong_to_what_is_allowed() -> None:
    for value in (1, 3):
        check_whole("count", value, 1, 3)
    check_whole("count", 10**9, 1)
    with pytest.raises(ValueError, match=exactly("count is 0; allowed: whole numbers from 1")):
        check_whole("count", 0, 1)
