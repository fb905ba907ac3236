"""A user's model and data are fitted to each other: what the model takes, and on what its net is trained.

The file has to take what the model took. A net that takes numbers from 0 to 255 would train badly, so it is
trained on smaller ones, by a factor that its first kernels hold meanwhile; see `taking`.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from ..data.datasets import Dataset
from ..quiet import quiet
from . import graphs
from .building import to_keras
from .folding import fold
from .graphs import Net, UnsupportedModelError
from .ranges import DECIDING_IMAGES, SCALING, Taken, choose
from .shapes import closed

#: Numbers up to this size are trained on as they are.
LARGEST_TRAINED = 10.0


@dataclass(frozen=True, kw_only=True)
class Fitted(Taken):
    """A model, and how it takes a data set.

    Attributes:
        net: everything folded, unbounded scores at the end; takes images of `seen`.
        factor: what the net is trained on, of what the model takes.
    """

    net: Net
    factor: float

    def seen(self, data: Dataset) -> Dataset:
        """The data as the net is trained on them: float32 images."""
        fed, factor = self.fed(data), np.float32(self.factor)
        return replace(fed, **{f"x_{s}": getattr(fed, f"x_{s}") * factor for s in ("train", "val", "test")})


def fit_to(model: Net, data: Dataset) -> Fitted:
    """The model with what it takes, read from it and its data.

    A model that begins with its own Rescaling or Normalization takes pixels as they are, from 0 to 255,
    unless it knows others far better; without one, it takes what it knows best, see `choose`. Floats it takes
    as they are.

    Raises:
        UnsupportedModelError: images or classes that do not fit the model.
    """
    net = fold(replace(model, input_shape=closed(model.input_shape, data.input_shape)))
    shape = tuple(size or 1 for size in net.input_shape)
    reconstructs = check_outputs(net.output_shape, shape, data, ending=model.ending)
    built = to_keras(net)
    squashed = model.ending == "sigmoid" and (reconstructs or data.task == "values")

    def scores(images: np.ndarray) -> np.ndarray:
        with quiet():
            found = np.asarray(built.predict(images, batch_size=500, verbose=0))
        return special.expit(found) if squashed else found

    taken = choose(scores, data, shape, own=_own_scaling(model), reconstructs=reconstructs)
    taken = replace(taken, notes=(*taken.notes, ENDING_NOTES[model.ending]))
    return _trainable(Fitted(net=net, factor=1.0, **vars(taken)), data)


#: What is said of outputs, by what makes them.
ENDING_NOTES = {
    "softmax": "the model gives probabilities (softmax), and so do its files",
    "sigmoid": "the model gives probabilities (sigmoid), and so do its files",
    "linear": "the model's outputs go through no softmax or sigmoid; its files give the same",
}


def check_outputs(
    outputs: tuple[int | None, ...], inputs: tuple[int, ...], data: Dataset, *, ending: str
) -> bool:
    """Whether a model reconstructs its inputs, for it does not give what the data ask for.

    Args:
        outputs, inputs: shapes of one. ending: see `Fitted`; a softmax is no reconstruction.
    Raises:
        ValuesError: one number, for labels that are numbers.
        UnsupportedModelError: it gives neither.
    """
    said = " x ".join("?" if size is None else str(size) for size in outputs)
    count = int(np.prod([size or 0 for size in outputs]))
    flat = len(outputs) == 1 or data.task == "values"
    if (flat and count == data.classes) or (data.task == "binary" and outputs == (1,)):
        return False
    if count == np.prod(inputs) and ending != "softmax":
        return True
    if len(outputs) != 1:
        raise UnsupportedModelError(
            f"the model's output is {said} an image; allowed is one score a class: end it with "
            "GlobalAveragePooling2D or Flatten, and Dense(classes)"
        )
    if outputs == (1,) and data.task == "classes":
        raise ValuesError(
            f"the model gives one score and the data have {data.classes} classes; allowed is one score a "
            "class; values to predict are floats: y_train.astype('float32')"
        )
    if data.task in ("values", "multilabel"):
        raise UnsupportedModelError(
            f"the model gives {said} numbers and y_train holds {data.classes} an input; allowed is as many; "
            "labels are whole numbers: y_train.astype(int)"
        )
    read = "".join(f"; {note}" for note in data.notes if note.startswith("the labels of"))
    kept = f"{count - data.classes}:" if read else f":{data.classes}"
    fewer = (
        "; add images of the others to the data, or leave their scores out of the model: "
        f"model = keras.Model(model.inputs, model.outputs[0][:, {kept}])"
    )
    raise UnsupportedModelError(
        f"the model gives {said} scores and the data have {data.classes} classes "
        f"(labels 0 to {data.classes - 1}); allowed is one score a class{read}"
        + (fewer if count > data.classes else "")
    )


class ValuesError(UnsupportedModelError):
    """A model of one output for labels that are numbers: they may be values to predict."""


def _own_scaling(net: Net) -> str:
    """The first layer that computes, where it is one that scales all that the net takes; else empty."""
    readers = net.readers(net.input)
    while len(readers) == 1 and readers[0].kind in _MOVING:
        readers = net.readers(readers[0].name)
    alone = readers[0].kind if len(readers) == 1 else ""
    return alone if alone in SCALING else ""


#: Layers before a Rescaling that only move, pick or interpolate pixels.
_MOVING = ("Reshape", "Permute", "ZeroPadding2D", "Identity", "Cropping2D", "Resizing", "CenterCrop")
#: Layers through which a positive factor passes.
_HOMOGENEOUS = (
    *_MOVING, "Flatten", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    "UpSampling2D", "Dropout", "SpatialDropout2D",
)  # fmt: skip


def _trainable(fitted: Fitted, data: Dataset) -> Fitted:
    """The same, with its first kernels multiplied so that the net takes numbers of a size to train on."""
    if fitted.range.offset:
        return fitted
    largest = float(np.max(np.abs(fitted.range.fed(data.x_train[:DECIDING_IMAGES]))))
    found = first_kernels(fitted.net)
    if largest <= LARGEST_TRAINED or found is None:
        return fitted
    factor = 1 / 255 if fitted.range.multiplier == 255 else float(np.float32(1 / largest))
    nodes = []
    for node in map(fitted.net.node, found[0]):
        kernel, *bias = node.weights
        kernel = (kernel.astype(np.float64) / factor).astype(np.float32)
        nodes.append(replace(node, weights=(kernel, *bias)))
    return replace(fitted, net=graphs.changed(fitted.net, *nodes), factor=factor)


def first_kernels(net: Net) -> tuple[list[str], list[str]] | None:
    """The kernels that read the input, and the layers between; None where another layer computes with it."""
    scaled, carried, waiting = [], [], [net.input]
    while waiting:
        for reader in net.readers(waiting.pop()):
            if reader.kind in graphs.KERNELS and not reader.layer:
                scaled.append(reader.name)
            elif reader.kind in _HOMOGENEOUS and reader.name != net.output:
                carried.append(reader.name)
                waiting.append(reader.name)
            else:
                return None
    return scaled, carried
