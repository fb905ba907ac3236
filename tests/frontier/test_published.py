"""The published figures: what each has to state, and that its two figures agree."""

from pathlib import Path

import pytest

from model_compression.frontier.published import COUNTS, PARAMETERS, published


def made(folder: Path, line: str) -> Path:
    path = folder / "published.csv"
    path.write_text(f"method,net,error_pct,size_bytes,ratio,counted_as,source\n{line}\n")
    return path


def test_published_ratio_becomes_bytes_and_stated_bytes_stay(tmp_path: Path) -> None:
    (point,) = published(made(tmp_path, "m,lenet_5,1.0,,2,file,s")).itertuples()
    assert point.bytes == 2 * 431_080
    (point,) = published(made(tmp_path, "m,lenet_5,1.0,7,2,file,s")).itertuples()
    assert point.bytes == 7


def test_published_needs_bytes_or_the_ratio_of_a_known_net(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="m on other: neither bytes nor the ratio of a known net"):
        published(made(tmp_path, "m,other,1.0,,2,file,s"))
    with pytest.raises(ValueError, match="counted_as is 'guess'; allowed: file, payload, flash, estimate"):
        published(made(tmp_path, "m,other,1.0,2,,guess,s"))


def test_published_ratios_and_bytes_agree_where_both_are_stated() -> None:
    both = published().dropna(subset=["size_bytes", "ratio"])
    assert len(both) > 5
    for point in both.itertuples():
        assert 4 * PARAMETERS[point.net] / point.ratio == pytest.approx(point.size_bytes, rel=0.04)


def test_every_way_of_counting_has_a_point_and_every_point_a_source() -> None:
    assert set(published()["counted_as"]) == set(COUNTS)
    assert published()["source"].notna().all()
