"""The inputs and outputs of a .tflite file: what they are called, and what each is asked for."""

from typing import Literal

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..data.datasets import Dataset
from ..files import running
from ..saved_models.graphs import UnsupportedModelError
from ..saved_models.knowing import Output


def named(
    loaded: Interpreter, which: Literal["inputs", "outputs"], data: Dataset
) -> tuple[tuple[str, ...], str]:
    """The data's names in the file's order, and what is to be minded.

    Those of its signature, else of its tensors; where the data have other names, in the data's order.
    """
    names, end = tuple(getattr(data, which)), which.removesuffix("s")
    details = getattr(loaded, f"get_{end}_details")()
    signature = {}
    if loaded.get_signature_list():
        signature = getattr(loaded.get_signature_runner(), f"get_{end}_details")()
    by_index = {int(each["index"]): name for name, each in signature.items()}
    of_tensors = [each["name"].partition(":")[0].removeprefix("serving_default_") for each in details]
    for found in ([by_index.get(int(each["index"]), "") for each in details], of_tensors):
        if sorted(found) == sorted(names):
            return tuple(found), ""
    guess = f"the file names its {which} otherwise than the data: they are taken in the order of the data"
    return names, guess if len(names) > 1 else ""


def asked_outputs(content: bytes, names: tuple[str, ...], data: Dataset) -> tuple[Output, ...]:
    """What a file gives, in its order.

    Raises:
        UnsupportedModelError: data that ask for other outputs, or for one of several.
    """
    widths = [int(np.prod(each["shape"][1:])) for each in running.allocated(content).get_output_details()]
    if len(widths) == 1 and not data.outputs:
        names = ("",)
    elif len(widths) == 1 or set(names) != set(data.outputs) or len(names) != len(widths):
        wanted = ", ".join(f"y_train_{name}" for name in names) if len(widths) > 1 else "y_train"
        raise UnsupportedModelError(
            f"the model has {len(widths)} output{'s' * (len(widths) > 1)}: allowed are arrays named "
            f"{wanted}, and so for y_test"
        )
    ends = [int(end) for end in np.cumsum([0, *widths])]
    endings = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
    return tuple(
        Output(
            name=name,
            columns=slice(ends[k], ends[k + 1]),
            ending=endings.get(running.last_operator(content, output=k), "linear"),
        )
        for k, name in enumerate(names)
    )
