"""Where it hurts, as rows and as a picture, and bits a layer beside one width for all."""

from dataclasses import replace

import numpy as np
import pytest
from tflite_graphs import IMAGES, layered

from model_compression.data.datasets import Dataset
from model_compression.evidence import layers
from model_compression.files import running
from model_compression.files.sensitivity import CHANGES

CONTENT = layered()
LABELS = running.predict(CONTENT, IMAGES).astype(np.int64)
DATA = Dataset(
    name="made",
    x_train=IMAGES,
    y_train=LABELS,
    x_val=IMAGES,
    y_val=LABELS,
    x_test=IMAGES[:40],
    y_test=LABELS[:40],
    classes=4,
)


def test_table_has_a_row_for_each_layer_and_change() -> None:
    table = layers.sensitivity(CONTENT, DATA)
    assert list(table["change"]) == 3 * list(CHANGES)
    assert list(dict.fromkeys(table["layer"])) == ["CONV_2D 1", "DEPTHWISE_CONV_2D 2", "FULLY_CONNECTED 3"]
    # the labels are the float file's own
    assert (table["accuracy_change_pp"] <= 0).all()
    assert table["kl"].notna().all()


def test_layers_that_there_is_no_time_for_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(layers.time, "monotonic", lambda: next(clock))
    table = layers.sensitivity(CONTENT, DATA, until=2 * len(CHANGES) - 1)
    assert list(table["layer"]) == len(CHANGES) * ["CONV_2D 1"]
    assert layers.sensitivity(CONTENT, DATA, until=0).empty


def test_values_have_noise_alone() -> None:
    answers = running.logits(CONTENT, IMAGES)
    data = replace(DATA, task="values", y_train=answers, y_val=answers, y_test=answers[:40])
    table = layers.sensitivity(CONTENT, data)
    assert table["snr_db"].notna().all()
    assert table[["kl", "accuracy_change_pp"]].isna().all().all()


def test_picture_says_in_each_cell_what_the_table_says() -> None:
    table = layers.sensitivity(CONTENT, DATA)
    axes = layers.picture(table).axes[0]
    words = {text.get_text() for text in axes.texts}
    # without a minus before nothing
    assert words == {
        f"{round(row.snr_db) + 0.0:.0f} dB, {row.accuracy_change_pp:+.1f} pp" for row in table.itertuples()
    }
    four = table[table["change"] == "4 bits"]
    least = four.loc[four["snr_db"].idxmin(), "layer"]
    assert f"least signal to noise at 4 bits: {least}." in axes.get_title()


def test_bits_and_one_width_are_compared_at_equal_bytes() -> None:
    table = layers.bits_a_layer(CONTENT, DATA)
    assert (table["file_bytes"] <= table["budget_bytes"]).all()
    assert list(table["mean_bits"]) == [5, 6, 7, 8]
    assert list(table["one_width"]) == ["computed"] * 3 + ["file"]
    change = 100 * (table["accuracy"] - table["one_width_accuracy"])
    np.testing.assert_allclose(table["change_pp"], change)
    assert set(table["verdict"]) <= {"worse", "better", "equivalent", "undecided"}
    # more bits for all leave less noise
    assert table["one_width_snr_db"][:3].is_monotonic_increasing
    assert set(layers.VIEW) < set(table.columns)


def test_choice_takes_no_notice_of_test_images() -> None:
    others = replace(DATA, x_test=IMAGES[::-1][:40], y_test=(LABELS[:40] + 1) % 4)
    mine, theirs = (layers.bits_a_layer(CONTENT, data) for data in (DATA, others))
    assert list(mine["bits"]) == list(theirs["bits"])
    assert list(mine["accuracy"]) != list(theirs["accuracy"])
