"""The published figures: what each has to state, and that its two figures agree."""

import pytest

from model_compression.frontier.published import COUNTS, PARAMETERS, PUBLISHED, Published


def test_published_ratio_becomes_bytes_and_stated_bytes_stay() -> None:
    common = {"method": "m", "net": "lenet_5", "error_pct": 1.0, "counted_as": "file", "source": "s"}
    assert Published(ratio=2, **common).bytes == 2 * 431_080
    assert Published(size_bytes=7, ratio=2, **common).bytes == 7


def test_published_needs_bytes_or_the_ratio_of_a_known_net() -> None:
    with pytest.raises(ValueError, match="neither bytes nor the ratio of a known net"):
        Published(method="m", net="other", error_pct=1.0, counted_as="file", source="s", ratio=2)
    with pytest.raises(ValueError, match="counted_as is 'guess'; allowed: file, payload, flash, estimate"):
        Published(method="m", net="other", error_pct=1.0, counted_as="guess", source="s", size_bytes=2)


def test_published_ratios_and_bytes_agree_where_both_are_stated() -> None:
    for point in PUBLISHED:
        if point.size_bytes and point.ratio:
            assert 4 * PARAMETERS[point.net] / point.ratio == pytest.approx(point.size_bytes, rel=0.04)


def test_every_way_of_counting_has_a_point() -> None:
    assert {point.counted_as for point in PUBLISHED} == set(COUNTS)
