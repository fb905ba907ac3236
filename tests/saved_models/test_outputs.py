"""What a model gives beside what the data ask for."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import exactly

from model_compression.data.datasets import Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.saved_models.files import identify
    from model_compression.saved_models.fitting import ValuesError, check_outputs
    from model_compression.saved_models.graphs import UnsupportedModelError

X, Y = np.zeros((6, 4), np.float32), np.arange(6) % 3


def data(answers: np.ndarray = Y, classes: int = 3, **fields: object) -> Dataset:
    return Dataset(
        name="few", x_train=X, y_train=answers, x_val=X, y_val=answers, x_test=X, y_test=answers,
        classes=classes, **fields,
    )  # fmt: skip


def test_score_a_class_and_one_score_of_two_are_taken() -> None:
    assert not check_outputs((3,), (4,), data(), ending="linear")
    assert not check_outputs((1,), (4,), data(Y % 2, 2, task="binary"), ending="linear")
    several = np.zeros((6, 5), np.int64)
    assert not check_outputs((5,), (4,), data(several, 5, task="multilabel"), ending="linear")


def test_values_may_come_in_any_shape() -> None:
    assert not check_outputs(
        (2, 3), (4,), data(np.zeros((6, 6), np.float32), 6, task="values"), ending="linear"
    )


def test_as_many_numbers_as_inputs_reconstruct_them() -> None:
    assert check_outputs((4,), (4,), data(), ending="linear")
    assert check_outputs((2, 2, 1), (2, 2, 1), data(), ending="linear")


def test_probabilities_of_classes_are_no_inputs_though_as_many() -> None:
    with pytest.raises(UnsupportedModelError, match="gives 4 scores and the data have 3 classes"):
        check_outputs((4,), (4,), data(), ending="softmax")


def test_one_score_for_several_labels_may_be_a_value() -> None:
    message = (
        "the model gives one score and the data have 3 classes; allowed is one score a class; values to "
        "predict are floats: y_train.astype('float32')"
    )
    with pytest.raises(ValuesError, match=exactly(message)):
        check_outputs((1,), (4,), data(), ending="linear")


@pytest.mark.parametrize(
    ("outputs", "given", "message"),
    [
        (
            5,
            data(notes=("the labels of y_train, 1 to 3, were taken as 0 to 2",)),
            "the model gives 5 scores and the data have 3 classes (labels 0 to 2); allowed is one score a "
            "class; the labels of y_train, 1 to 3, were taken as 0 to 2; add images of the others to the "
            "data, or leave their scores out of the model: "
            "model = keras.Model(model.inputs, model.outputs[0][:, 2:])",
        ),
        (
            6,
            data(),
            "the model gives 6 scores and the data have 3 classes (labels 0 to 2); allowed is one score a "
            "class; add images of the others to the data, or leave their scores out of the model: "
            "model = keras.Model(model.inputs, model.outputs[0][:, :3])",
        ),
        (
            2,
            data(),
            "the model gives 2 scores and the data have 3 classes (labels 0 to 2); allowed is one score a "
            "class",
        ),
        (
            2,
            data(np.zeros((6, 3), np.float32), 3, task="values"),
            "the model gives 2 numbers and y_train holds 3 an input; allowed is as many; labels are whole "
            "numbers: y_train.astype(int)",
        ),
    ],
)
def test_others_are_refused_with_what_was_read_and_what_to_do(
    outputs: int, given: Dataset, message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=exactly(message)):
        check_outputs((outputs,), (4,), given, ending="linear")


def test_file_of_keras_1_is_told_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = "1.2.2", "{}"
    with pytest.raises(UnsupportedModelError, match=r"was saved by Keras 1\.2\.2, .*load it in Keras 2\.2"):
        identify(path)
