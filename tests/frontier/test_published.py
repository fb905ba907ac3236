"""The published figures: what each has to state, and that its two figures agree."""

import pytest

from model_compression.frontier.published import COUNTS, PARAMETERS, published


def test_every_figure_has_bytes_those_stated_or_what_a_ratio_leaves_of_a_known_net() -> None:
    table = published()
    stated = table["size_bytes"].notna()
    assert (table["bytes"] > 0).all()
    assert (table["bytes"] == table["size_bytes"])[stated].all()
    (point,) = table[(table["net"] == "lenet_5") & ~stated][:1].itertuples()
    assert point.bytes == round(4 * 431_080 / point.ratio)


def test_published_ratios_and_bytes_agree_where_both_are_stated() -> None:
    both = published().dropna(subset=["size_bytes", "ratio"])
    assert len(both) > 5
    for point in both.itertuples():
        assert 4 * PARAMETERS[point.net] / point.ratio == pytest.approx(point.size_bytes, rel=0.04)


def test_every_way_of_counting_has_a_point_and_every_point_a_source() -> None:
    assert set(published()["counted_as"]) == set(COUNTS)
    assert published()["source"].notna().all()
