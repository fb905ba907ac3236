"""A user's own data: which array is which, and what its inputs are.

What can be read in one way only is taken, and said; the rest is refused with the line of code that mends it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .answers import Answers, read_answers
from .files import Arrays, InvalidDataError, Say, as_float32, check_held, check_shapes, open_npz, read_member

#: Whole numbers up to here are the same in float32.
_EXACT = 2**24


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a file holds; the name of an input or output is "" where it is the only one.

    Attributes:
        inputs: by name the arrays, uint8 or float32, as `x_train` and so on or `x_train_<name>`.
        outputs: the answers by name. notes: how arrays were read, a sentence each.
    """

    inputs: Mapping[str, Arrays]
    outputs: Mapping[str, Answers]
    notes: tuple[str, ...]


def read(path: Path, *, values: bool) -> Own:
    """The arrays of an .npz file, checked.

    Args:
        values: take whole numbers too for values to predict, and not for labels.
    Raises:
        InvalidDataError: they cannot be used, or not in one way only; the message says what to do.
    """
    with open_npz(path) as archive:
        taken = _choose(path, tuple(archive))
        arrays = {name: read_member(path, archive, member) for name, member in taken.items()}
    notes = [f"{member} was taken for {name}" for name, member in taken.items() if member != name]
    given: dict[str, dict[str, dict[str, np.ndarray]]] = {"x": {}, "y": {}}
    for name, array in arrays.items():
        kind, _, *part = name.split("_", 2)
        given[kind].setdefault("".join(part), {})[name] = array
    try:
        inputs = {part: _inputs(each, notes.append) for part, each in given["x"].items()}
        _check_lengths(arrays)
        outputs = {
            part: read_answers(each, values=values, say=notes.append) for part, each in given["y"].items()
        }
    except InvalidDataError as error:
        raise InvalidDataError(f"{path}: {error}") from None
    return Own(inputs=inputs, outputs=outputs, notes=tuple(notes))


def _check_lengths(arrays: Arrays) -> None:
    counts = {name.split("_")[1]: len(array) for name, array in arrays.items() if name.startswith("x")}
    for name, array in arrays.items():
        split = name.split("_")[1]
        if (found := array.shape[:1]) != (counts[split],):
            raise InvalidDataError(
                f"x_{split} has {counts[split]} images and {name} {found[0] if found else 'no'} labels: "
                "allowed is one label an image"
            )


# Names

_WORDS = {
    "x": "x|images?|data|features|inputs?|samples|signals|pixels",
    "y": "y|labels?|targets?|answers|outputs?",
}
_SPLITS = {"train": "train(ing)?|tr", "test": "test(ing)?|te", "val": "val(id(ation)?)?|dev"}


def _key(name: str) -> str | None:
    """What an array is by its name: `X_train`, `trainX` and `train_images` are all `x_train`."""
    if re.fullmatch(r"[xy]_(train|test|val)_\w+", name):  # of one input or output among several
        return name
    bare = re.sub(r"[\W_]", "", name.lower())
    for kind, words in _WORDS.items():
        for split, ends in _SPLITS.items():
            if re.fullmatch(f"({words})({ends})|({ends})({words})", bare):
                return f"{kind}_{split}"
    return None


def _choose(path: Path, found: tuple[str, ...]) -> dict[str, str]:
    """For each array that is wanted the one in the file."""
    claims: dict[str, list[str]] = {}
    for name in found:
        if key := _key(name):
            claims.setdefault(key, []).append(name)
    wanted = []
    for split in _SPLITS:
        for kind in "xy":
            train = f"{kind}_train"
            parts = [key.removeprefix(train) for key in claims if key.startswith(train)]
            if split != "val" or any(key[2:].startswith("val") for key in claims):
                wanted += [f"{kind}_{split}{part}" for part in ([""] if "" in parts else parts or [""])]
    check_held(path, found, wanted, claims)
    for key in wanted:
        if key not in claims[key] and len(claims[key]) > 1:
            raise InvalidDataError(
                f"{path} holds {' and '.join(claims[key])}: allowed is one of them, as {key}"
            )
    return {key: key if key in claims[key] else claims[key][0] for key in wanted}


# Inputs


def _inputs(given: dict[str, np.ndarray], say: Say) -> Arrays:
    """One input in all splits, as uint8 or float32."""
    for name, array in given.items():
        if array.dtype.kind not in "biuf":
            remedy = "numpy.abs of a spectrum" if array.dtype.kind == "c" else "what the model takes for them"
            raise InvalidDataError(
                f"{name} is {array.dtype}: allowed is uint8 (0 to 255) or floats, such as {remedy}"
            )
        if array.ndim < 2 or 0 in array.shape:
            remedy = f"; one number an input is {name}[:, None]" if array.ndim == 1 else ""
            raise InvalidDataError(
                f"{name} has the shape {array.shape}: allowed is (images, ...), none of it 0{remedy}"
            )
    (first, one), *others = given.items()
    for name, array in others:
        if (array.dtype.kind == "f") != (one.dtype.kind == "f"):
            raise InvalidDataError(
                f"{first} is {one.dtype} and {name} {array.dtype}: allowed is uint8 in both or floats in both"
            )
    check_shapes(given, "images")
    if one.dtype.kind in "bf":
        return as_float32(given)
    if any(array.dtype != np.uint8 for array in given.values()):
        return _whole_numbers(given, say)
    return given


def _whole_numbers(given: dict[str, np.ndarray], say: Say) -> Arrays:
    """Pixels as uint8, other whole numbers as floats."""
    name, one = next(iter(given.items()))
    low = min(int(array.min()) for array in given.values())
    high = max(int(array.max()) for array in given.values())
    if low >= 0 and high <= 255 and one.ndim > 2:
        say(f"{name} is {one.dtype} from {low} to {high}: taken as pixels, 0 to 255")
        return {name: array.astype(np.uint8) for name, array in given.items()}
    if one.dtype == np.int8 and low < 0:
        raise InvalidDataError(
            f"{name} is int8 from {low} to {high}: allowed is uint8 (0 to 255) or floats; pixels become so "
            f"by ({name}.astype(int) + 128).astype('uint8'), other numbers by {name}.astype('float32')"
        )
    if max(-low, high) > _EXACT:
        raise InvalidDataError(
            f"{name} runs from {low} to {high}: allowed are whole numbers up to {_EXACT}, as float32 holds; "
            f"where rounding does no harm: {name}.astype('float32')"
        )
    say(f"{name} is {one.dtype} from {low} to {high}: taken as floats of the same size")
    return as_float32(given)
