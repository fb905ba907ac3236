from typing import Any

import numpy as np
import pytest
from conftest import Nets
from made import LABELS, happens, outcome, outcomes, predictions

from model_compression.data.datasets import scale
from model_compression.evidence import traps
from model_compression.files import coding, conversion, running
from model_compression.files.graph import account, read_graph
from model_compression.nets import named
from model_compression.study.outcomes import Outcome


def of_file(file: str, content: bytes) -> Outcome:
    """An outcome whose zeros and bytes are counted in a real file."""
    layers = account(read_graph(content))
    return outcome(
        file,
        predictions(50),
        content=content,
        file_bytes=len(content),
        zip_bytes=coding.zip_bytes(content),
        weights=sum(layer.weights for layer in layers),
        nonzero_weights=sum(layer.nonzero for layer in layers),
    )


def sized(name: str, file_bytes: list[int], nonzero: list[int]) -> list[Outcome]:
    """One outcome a seed, of 100 weights."""
    seeds = len(file_bytes)
    fields = {"file_bytes": file_bytes, "nonzero_weights": nonzero, "weights": [100] * seeds}
    return outcomes(f"{name}.tflite", [50] * seeds, **fields)


def test_pruned_file_is_as_large_until_it_is_zipped(nets: Nets) -> None:
    table = traps.pruned_but_not_smaller(
        {
            "non_quantized": [of_file("non_quantized.tflite", nets.file("baseline", "float32"))],
            "pruned": [of_file("pruned.tflite", nets.file("pruned", "float32"))],
            "pruned_quantized": [of_file("pruned_quantized.tflite", nets.file("pruned", "int8"))],
        }
    )
    assert list(table.columns) == ["model_file", "zeros", "file_bytes", "zip_bytes", "seen"]
    assert table.model_file.tolist() == ["pruned.tflite", "non_quantized.tflite", "pruned_quantized.tflite"]
    # 80 % of the 6,760 weights of the Dense kernel and 25 % of the 36 of the convolution
    assert table.zeros.tolist()[:2] == [pytest.approx((5408 + 9) / 6796), 0]
    assert table.zeros[2] >= table.zeros[0]
    assert table.file_bytes[0] == table.file_bytes[1]
    assert table.zip_bytes[0] < table.zip_bytes[1] / 2
    assert table.seen.tolist() == ["1 of 1", "", ""]
    assert happens(table)


def test_zeros_are_lost_by_plain_qat_and_kept_by_pqat(nets: Nets) -> None:
    table = traps.zeros_lost_by_plain_qat(
        {
            "pruned_quantized": [of_file("pruned_quantized.tflite", nets.file("pruned", "int8"))],
            "pruned_then_plain_qat": [of_file("plain.tflite", nets.file("plain qat of pruned", "int8"))],
            "pruned_quantization_aware": [of_file("pqat.tflite", nets.file("pqat", "int8"))],
        }
    )
    assert list(table.columns) == ["model_file", "zeros", "zip_bytes", "seen"]
    plain, preserved, quantized = table.zeros
    assert plain < 0.5 < (5408 + 9) / 6796 <= min(quantized, preserved)
    assert table.zip_bytes[0] > max(table.zip_bytes[1:])
    assert happens(table)


def test_a_trap_that_one_seed_escapes_does_not_happen() -> None:
    made = {
        "non_quantized": sized("non_quantized", [1000, 1000, 1000], [100, 100, 100]),
        "pruned": sized("pruned", [1000, 999, 1001], [20, 10, 30]),
        "pruned_quantized": sized("pruned_quantized", [250, 260, 240], [20, 10, 30]),
    }
    table = traps.pruned_but_not_smaller(made)
    assert table.seen[0] == "2 of 3"
    assert not happens(table)
    # and the figures are the median seed's
    assert table.file_bytes.tolist() == [1000, 1000, 250]
    assert table.zeros.tolist() == pytest.approx([0.8, 0, 0.8])


def test_a_trap_that_no_seed_falls_into_does_not_happen() -> None:
    kept = sized("a", [1, 1], [20, 20])
    names = ("pruned_then_plain_qat", "pruned_quantization_aware", "pruned_quantized")
    table = traps.zeros_lost_by_plain_qat(dict.fromkeys(names, kept))
    assert table.seen[0] == "0 of 2"
    assert not happens(table)


@pytest.fixture(scope="module")
def three_values() -> Any:
    """A net whose Dense kernel holds 1, 0.6 and 0.25; outputs 5 to 9 have no 1, so their scale differs."""
    net = named.build("baseline_4", input_shape=(28, 28), classes=10, seed=0)
    conv, bias, dense, last = net.get_weights()
    dense[:] = 0.25
    dense[::3] = 0.6
    dense[1::3, :5] = 1
    net.set_weights([conv, bias, dense, last])
    return net


def test_a_scale_for_each_output_splits_clusters(three_values: Any, nets: Nets) -> None:
    def converted(file: str, *, per_channel: bool) -> Outcome:
        config = conversion.ExportConfig(form="int8", per_channel_dense=per_channel)
        content = conversion.export(three_values, config, representative=nets.images[:50])
        return of_file(file, content)

    together = converted("clustered_16.tflite", per_channel=False)
    split = converted("clustered_16_per_channel.tflite", per_channel=True)
    table = traps.clusters_split({"clustered_16": [together], "clustered_16_per_channel": [split]})
    assert table.to_dict("list") == {
        "model_file": ["clustered_16_per_channel.tflite", "clustered_16.tflite"],
        "scales_of_dense": [10, 1],
        # 127, 76, 32 in outputs 0 to 4; 0.25 of 0.6 is 53 in the others
        "values_stored": [4, 3],
        "zip_bytes": [split.record.zip_bytes, together.record.zip_bytes],
        "seen": ["1 of 1", ""],
    }


def test_cast_input_scores_near_chance_and_rounded_input_scores_best(nets: Nets) -> None:
    images, labels = scale(nets.data.x_test), nets.data.y_test
    content = nets.file("baseline", "int8")
    int8 = outcome("int8.tflite", predictions(1), content=content)
    table = traps.input_cast({"int8": [int8, int8]}, images, labels)
    cast, truncated, rounded = table.accuracy
    assert rounded == running.accuracy(labels, running.predict(content, images))
    assert cast < 0.3 < 0.6 < rounded
    assert abs(truncated - rounded) < 0.05
    # scale 1/255, zero point -128: pixel p is stored as p - 128, and a cast gives 0, or 1 for p = 255
    pixels = nets.data.x_test
    wrong = np.sum((pixels == 255).astype(int) != pixels.astype(int) - 128)
    assert table.wrong_pixels[0] == wrong
    assert 0 < table.wrong_pixels[1] < wrong
    assert table.wrong_pixels[2] == 0
    # what truncating costs is for the test to say; the row that all are compared with has none
    assert table.seen[0] == "worse"
    assert table.seen[2] == ""
    assert table.accuracy_change_pp[0] == pytest.approx(100 * (cast - rounded))
    assert happens(table)


def test_trap_leaves_images_as_they_were(nets: Nets) -> None:
    images = scale(nets.data.x_test)[:20]
    before = images.copy()
    int8 = outcome("int8.tflite", predictions(1), content=nets.file("baseline", "int8"))
    traps.input_cast({"int8": [int8]}, images, nets.data.y_test[:20])
    np.testing.assert_array_equal(images, before)


def trained(longer: list[int]) -> dict[str, list[Outcome]]:
    return {
        "non_quantized": outcomes("non_quantized.tflite", [60, 62]),
        "pruned": outcomes("pruned.tflite", [70, 72]),
        "longer_trained": outcomes("longer_trained.tflite", longer),
    }


def test_extra_training_is_taken_out_of_what_pruning_seems_to_give() -> None:
    table = traps.training_credited_to_pruning(trained([95, 97]), LABELS)
    assert table.model_file.tolist() == ["longer_trained.tflite", "pruned.tflite", "non_quantized.tflite"]
    assert table.accuracy.tolist() == pytest.approx([0.96, 0.71, 0.61])
    assert table.accuracy_change_pp.tolist() == pytest.approx([35, 10, 0])
    assert table.against_longer_trained_pp.tolist() == pytest.approx([0, -25, -35])
    assert table.seen.tolist() == ["better", "", ""]
    assert happens(table)


def test_extra_training_that_is_not_shown_to_help_is_credited_to_nothing() -> None:
    table = traps.training_credited_to_pruning(trained([61, 62]), LABELS)
    assert table.seen[0] == "undecided"
    assert not happens(table)


def test_trap_without_its_forms_is_left_out() -> None:
    assert traps.pruned_but_not_smaller({}) is None
    assert traps.pruned_but_not_smaller({"pruned": trained([61, 62])["pruned"]}) is None
