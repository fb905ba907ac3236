"""How a .tflite file is fed: lines of Python for an image as the model took it."""

import numpy as np

from ..files import running


def feeding(content: bytes) -> list[str]:
    """A line of code for an image as the model took it, and what comes out."""
    loaded = running.allocated(content)
    sources, targets = loaded.get_input_details(), loaded.get_output_details()
    names = ["x"] if len(sources) == 1 else [f"x_{k}" for k in range(len(sources))]
    shapes = [" x ".join(map(str, each["shape"][1:])) or "1" for each in sources]
    taken = ", ".join(f"`{name}`: {shape} numbers" for name, shape in zip(names, shapes, strict=True))
    lines = [
        f"interpreter.set_tensor(inputs[{k}]['index'], {_stored(name, each)})"
        for k, (name, each) in enumerate(zip(names, sources, strict=True))
    ]
    return [
        "## Feeding it",
        "",
        f"What the model took, of the same range, with the batch in front; an image has {taken}.",
        "",
        "```python",
        *lines,
        "interpreter.invoke()",
        f"outputs = {', '.join(_real(k, each) for k, each in enumerate(targets))}",
        "```",
        "",
    ]


def _stored(name: str, source: running.Detail) -> str:
    """Code that makes of an image what an input takes."""
    kind, (scale, zero_point) = np.dtype(source["dtype"]).name, source["quantization"]
    if not scale:
        return f'{name}.astype("{kind}")'
    limits = np.iinfo(kind)
    rounded = f"numpy.rint({name} / {scale!r} + {zero_point})"
    return f'numpy.clip({rounded}, {limits.min}, {limits.max}).astype("{kind}")'


def _real(number: int, target: running.Detail) -> str:
    """Code that makes real numbers of what an output gives."""
    given, (scale, zero_point) = f"interpreter.get_tensor(outputs[{number}]['index'])", target["quantization"]
    return f"({given}.astype(float) - {zero_point}) * {scale!r}" if scale else given
