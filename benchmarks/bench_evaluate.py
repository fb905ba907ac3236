"""Scoring a .tflite file on 10,000 images: in batches against an image at a time, as a ratio in one run.

Run: `make bench`, or `python benchmarks/bench_evaluate.py`.
"""

import statistics
import time

import numpy as np

from model_compression.data.datasets import load_dataset, scale
from model_compression.files import conversion, running
from model_compression.nets import named
from model_compression.quiet import quiet

ROUNDS = 25


def one_at_a_time(content: bytes, images: np.ndarray) -> np.ndarray:
    """Labels the way most tutorials compute them."""
    details = running.io_details(content)
    if details.input_scale:
        images = running.quantize(
            images, scale=details.input_scale, zero_point=details.input_zero_point, dtype=details.input_dtype
        )
    loaded = running.interpreter(content)
    loaded.allocate_tensors()
    source, target = loaded.get_input_details()[0]["index"], loaded.get_output_details()[0]["index"]
    labels = np.empty(len(images), np.int64)
    for index, image in enumerate(images):
        loaded.set_tensor(source, image[None])
        loaded.invoke()
        labels[index] = np.argmax(loaded.get_tensor(target)[0])
    return labels


def seconds(function: object, *arguments: object) -> tuple[float, np.ndarray]:
    """How long a call takes, and what it gives."""
    start = time.perf_counter()
    given = function(*arguments)  # type: ignore[operator]
    return time.perf_counter() - start, given


def main() -> None:
    """Print the median ratio for each form."""
    dataset = load_dataset("mnist")
    images = scale(dataset.x_test)
    model = named.build("baseline", input_shape=dataset.input_shape, classes=dataset.classes, seed=0)
    for form in ("float32", "dynamic_range", "int8"):
        with quiet():
            content = conversion.export(
                model, conversion.ExportConfig(form=form), representative=scale(dataset.x_train[:100])
            )
        ratios = []
        for _ in range(ROUNDS):
            batched, ours = seconds(running.predict, content, images)
            single, theirs = seconds(one_at_a_time, content, images)
            if np.mean(ours == theirs) < 0.999:
                raise RuntimeError(f"{form}: the two ways disagree")
            ratios.append(batched / single)
        print(f"{form:14} batches take {statistics.median(ratios):.2f} of the time of an image at a time")


if __name__ == "__main__":
    main()
