"""Outputs become answers, and answers a score."""

import numpy as np
import pytest

from model_compression.data.labels import labels_of, right, variance


def test_largest_output_is_the_label_and_a_single_one_is_judged_by_its_middle() -> None:
    assert labels_of(np.array([[0.1, 0.7], [3.0, -1.0]])).tolist() == [1, 0]
    single = np.array([[0.4], [0.6], [-0.1]])
    assert labels_of(single).tolist() == [1, 1, 0]
    assert labels_of(single, probabilities=True).tolist() == [0, 1, 0]


def test_several_labels_are_judged_each_and_values_are_what_they_are() -> None:
    outputs = np.array([[0.4, 0.6], [-0.2, 0.1]])
    assert labels_of(outputs, probabilities=True, task="multilabel").tolist() == [[0, 1], [0, 0]]
    assert labels_of(outputs, task="multilabel").tolist() == [[1, 1], [0, 1]]
    np.testing.assert_array_equal(labels_of(outputs, task="values"), outputs.astype(np.float32))


def test_labels_are_right_or_wrong_and_of_several_a_part_can_be() -> None:
    assert right(np.array([1, 2, 3]), np.array([1, 0, 3])).tolist() == [1, 0, 1]
    assert right(np.array([[0, 1], [1, 1]]), np.array([[0, 0], [1, 1]])).tolist() == [0.5, 1]


def test_score_of_values_is_the_coefficient_of_determination() -> None:
    answers = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]], np.float32)
    # the columns' variances are 8/3 and 2
    assert variance(answers) == pytest.approx((8 / 3 + 2) / 2)
    assert right(answers, answers).tolist() == [1, 1, 1]
    assert np.mean(right(answers, np.tile(answers.mean(axis=0), (3, 1)))) == pytest.approx(0)
    off = answers + np.float32(1)
    assert np.mean(right(answers, off)) == pytest.approx(1 - 1 / variance(answers))


def test_answers_of_several_axes_are_compared_with_outputs_in_a_row() -> None:
    images = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert right(images, images.reshape(2, 4)).tolist() == [1, 1]


def test_answers_that_never_change_are_scored_by_their_error() -> None:
    assert right(np.ones((2, 1), np.float32), np.array([[1.0], [3.0]])).tolist() == [1, -3]
