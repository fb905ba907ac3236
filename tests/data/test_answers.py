import re

import numpy as np
import pytest

from model_compression.data.answers import Answers, read_answers
from model_compression.data.files import InvalidDataError

LABELS = {"y_train": np.arange(3).repeat(4), "y_test": np.array([2, 0, 1])}


def read(train: object, test: object = None, *, values: bool = False, said: tuple[str, ...] = ()) -> Answers:
    """The answers, with `said` told of them and nothing else."""
    heard: list[str] = []
    arrays = {"y_train": np.asarray(train), "y_test": np.asarray(train if test is None else test)}
    answers = read_answers(arrays, values=values, say=heard.append)
    assert tuple(heard) == said
    return answers


def assert_labels(answers: Answers) -> None:
    assert (answers.task, answers.classes) == ("classes", 3)
    for name, labels in LABELS.items():
        assert answers.arrays[name].dtype == np.int64
        np.testing.assert_array_equal(answers.arrays[name], labels)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", ">i2"])
def test_labels_of_any_integer_type_are_taken_as_rows_and_as_columns(dtype: str) -> None:
    train, test = (labels.astype(dtype) for labels in LABELS.values())
    assert_labels(read(train, test))
    assert_labels(read(train[:, None], test[:, None]))


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "int64"])
def test_one_hot_rows_are_taken_and_said(dtype: str) -> None:
    rows = {name: np.eye(3, dtype=dtype)[labels] for name, labels in LABELS.items()}
    both = "the one-hot rows of y_train, y_test were taken as labels"
    assert_labels(read(rows["y_train"], rows["y_test"], said=(both,)))
    assert_labels(read(rows["y_train"], LABELS["y_test"], said=(both.replace(", y_test", ""),)))


def test_labels_from_1_are_taken_and_said() -> None:
    said = ("the labels of y_train, 1 to 3, were taken as 0 to 2",)
    assert_labels(read(LABELS["y_train"] + 1, LABELS["y_test"] + 1, said=said))


def test_whole_floats_are_labels_and_said() -> None:
    train, test = (labels.astype(float) for labels in LABELS.values())
    said = "the numbers of y_train, 0 to 2, were taken as labels"
    assert_labels(read(train, test, said=(said,)))
    from_1 = (said.replace("0 to 2", "1 to 3"), "the labels of y_train, 1 to 3, were taken as 0 to 2")
    assert_labels(read(train + 1, test + 1, said=from_1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([-1, 1, 1, -1], ("the labels of y_train, -1 and 1, were taken as 0 and 1",)),
        ([False, True, True, False], ()),
        ([1, 2, 2, 1], ("the labels of y_train, 1 to 2, were taken as 0 to 1",)),
    ],
)
def test_two_classes_are_binary(given: list[int], said: tuple[str, ...]) -> None:
    answers = read(given, said=said)
    assert (answers.task, answers.classes) == ("binary", 2)
    assert answers.arrays["y_test"].tolist() == [0, 1, 1, 0]


NUMBERS = "y_train holds numbers: taken as values to predict"


@pytest.mark.parametrize(
    "given",
    [
        [0.5, 1, 2],
        [0.0, 2.0, 4.0],  # whole, but no labels in a row
        [2.0, 3.0],
        [7.0, 7.0],
        [[0.5, -1], [2, 3], [1, 1]],
        [[[0.0, 1], [1, 0]]],
    ],
)
def test_other_floats_are_values_to_predict(given: list[float]) -> None:
    answers = read(given, said=(NUMBERS,))
    array = np.array(given, np.float32)
    expected = array if array.ndim > 1 else array[:, None]
    assert (answers.task, answers.classes) == ("values", expected[0].size)
    assert answers.arrays["y_test"].dtype == np.float32
    np.testing.assert_array_equal(answers.arrays["y_train"], expected)


def test_whole_numbers_are_values_where_asked() -> None:
    answers = read([0, 1, 2], values=True, said=(NUMBERS,))
    assert answers.arrays["y_train"].tolist() == [[0], [1], [2]]


def test_columns_of_0_and_1_are_labels_of_which_there_are_several() -> None:
    said = ("each column of y_train was taken for a label of its own: an image can have several",)
    answers = read([[1, 1, 0], [0, 1, 1], [0, 0, 0]], [[0, 1, 0]], said=said)
    assert (answers.task, answers.classes) == ("multilabel", 3)
    assert answers.arrays["y_test"].tolist() == [[0, 1, 0]]


OUT_OF_ROWS = "allowed are ints (n,) or (n, 1), or one-hot rows"
EVERY = "allowed is every class from 0; values to predict are floats: y_train.astype('float32')"
ONE_IN_A_ROW = "is not one-hot: allowed is a single 1 in each row; "
INVALID: dict[str, tuple[object, object, str]] = {
    "text": (
        ["dog", "cat"],
        None,
        "y_train holds text ('cat', 'dog'): allowed are labels from 0, in the order of the model's scores; "
        "with `names` in that order: np.array([names.index(text) for text in y_train])",
    ),
    "much text": (
        [f"{number:02}" for number in range(13)],
        None,
        f"y_train holds text ({', '.join(repr(f'{number:02}') for number in range(12))}, ...): allowed are "
        "labels from 0, in the order of the model's scores; with `names` in that order: "
        "np.array([names.index(text) for text in y_train])",
    ),
    "times": (np.array(["2026-01-01"], "M8[D]"), None, f"y_train is datetime64[D] (1,): {OUT_OF_ROWS}"),
    "a table without columns": (
        np.zeros((6, 0), np.int64),
        None,
        f"y_train is int64 (6, 0): {OUT_OF_ROWS}; values to predict are floats: y_train.astype('float32')",
    ),
    "whole numbers in a table": (
        [[3, 1], [2, 2]],
        None,
        f"y_train is int64 (2, 2): {OUT_OF_ROWS}; values to predict are floats: y_train.astype('float32')",
    ),
    "no number": ([0.5, np.nan], None, "y_train has NaN or infinite values: allowed are finite numbers"),
    "negative label": (
        [0, 1, -1, 2],
        None,
        "y_train runs from -1 to 2: allowed are labels from 0, as y_train + 1 gives them",
    ),
    "label beyond int64": (
        np.array([0, 2**64 - 1], np.uint64),
        None,
        f"y_train runs from 0 to {2**64 - 1}: allowed are labels from 0",
    ),
    "empty class": (
        [0, 0, 3, 3],
        None,
        f"y_train has labels up to 3 but only 2 of the 4 classes, none of class 1: {EVERY}",
    ),
    "no class 0, but in the test": (
        [1, 2, 1, 2],
        [0],
        f"y_train has labels up to 2 but only 2 of the 3 classes, none of class 0: {EVERY}",
    ),
    "stray label": (
        [0, 0, 1, 1, 2**62],
        None,
        f"y_train has labels up to {2**62} but only 3 of the {2**62 + 1} classes, none of class 2: {EVERY}",
    ),
    "empty last class": (
        np.eye(4)[[0, 1, 2, 0, 1, 2]],
        None,
        f"y_train has labels up to 3 but only 3 of the 4 classes, none of class 3: {EVERY}",
    ),
    "test label out of range": (
        [0, 1, 0, 1],
        [2],
        "y_test has labels up to 2: allowed are those of y_train, 0 to 1",
    ),
    "one-hot of other widths": (
        np.eye(3)[[0, 1, 2]],
        np.eye(4)[[0]],
        "y_test is one-hot for 4 classes: allowed are y_train's 3",
    ),
    "shares": (
        np.full((6, 3), 1 / 3),
        None,
        f"y_train (6, 3) {ONE_IN_A_ROW}y_train.argmax(axis=1) takes the largest share",
    ),
    "a label that every image has": (
        [[1, 1], [1, 0]],
        None,
        f"y_train (2, 2) {ONE_IN_A_ROW}or, for several labels an image, 0 and 1 in each column",
    ),
    "values of other widths": (
        [[0.5, 1.5]],
        [[0.5, 1.5, 2.5]],
        "y_train holds values (2,) and y_test (3,): allowed is one shape",
    ),
    "one class": ([0, 0, 0], None, "y_train holds one class: allowed are two or more"),
    "one class that is not the first": ([1, 1], None, "y_train holds one class: allowed are two or more"),
    "one image of a class": (
        [0, 0, 1, 2, 2],
        None,
        "y_train has one image of class 1: allowed are two or more of each class, "
        "for training and for validation: add some, or leave it out",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_answers_that_cannot_be_used_say_why_and_what_to_do(case: str) -> None:
    train, test, message = INVALID[case]
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        read_answers(
            {"y_train": np.asarray(train), "y_test": np.asarray(train if test is None else test)},
            values=False,
            say=lambda said: None,
        )
