"""What the command is asked: amounts with their units ("0.5pp", "16 KiB", "250us"), limits and folders.

Imports no TensorFlow, which takes seconds: bad arguments are told before.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..runtimes.smallest import OBJECTIVES, RUNTIMES, Limits

BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1024.0**2}
MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
#: Percentage points of accuracy, and per cent of an error.
POINTS = {"pp": 0.01, "%": 0.01}


@dataclass(frozen=True, kw_only=True)
class Request(Limits):
    """What the user asked for, checked.

    Attributes:
        data: a name or path that `load_dataset` takes.
        per_cent: whether the drop was asked for in per cent of an error.
        minutes: for all that is made, above 0.
        output: folder of the answer. cache: folder of what was computed.
        epochs: of each step of fine-tuning; None to follow from the number of images.
        workers: processes; 0 for none but this one, None for one a core.
    Raises:
        ValueError: a limit or an objective that the runtime cannot measure.
    """

    model: Path
    data: str
    per_cent: bool = False
    minutes: float = 10.0
    output: Path = Path("compressed")
    cache: Path = Path("cache")
    epochs: int | None = None
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.runtime != "tflm" and (self.max_arena is not None or self.objective == "arena"):
            asked = "--objective arena" if self.max_arena is None else "--max-arena"
            raise ValueError(f"{asked} goes with --runtime tflm: LiteRT has no arena of a fixed size")
        if self.runtime != "litert" and self.is_timed:
            asked = "--objective latency" if self.max_latency_us is None else "--max-latency"
            raise ValueError(
                f"{asked} goes with --runtime litert: this machine says nothing of a device's time"
            )

    @property
    def is_timed(self) -> bool:
        """Whether latencies play a part."""
        return self.objective == "latency" or self.max_latency_us is not None


class Parser(argparse.ArgumentParser):
    """One line on bad input, where argparse prints its usage too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def parse(arguments: Sequence[str]) -> tuple[Request, Parser]:
    """The request of a command line, and what tells of bad input."""
    parser = Parser(
        prog="python -m model_compression",
        description="Write the smallest form of a Keras model within limits: file, C++ source, report.",
        allow_abbrev=False,
        # what is not given is as `Request` has it
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        type=Path,
        help="saved Keras model (.keras, .h5, SavedModel) or float .tflite",
    )
    add("--data", required=True, help="mnist, fashion_mnist, or an .npz of x_train, y_train, x_test, y_test")
    drop_help = "accuracy you can lose, such as 0.5pp; of values to predict, rise of the error, such as 5%%"
    add("--max-drop", required=True, type=parse_drop, help=drop_help)
    add("--max-flash", type=parse_bytes, help="such as 16KB or 16KiB")
    add("--max-arena", type=parse_bytes, help="RAM on TFLite Micro, such as 32KiB")
    latency_help = "LiteRT on this machine, such as 250us"
    add("--max-latency", dest="max_latency_us", type=parse_microseconds, help=latency_help)
    add("--runtime", choices=RUNTIMES, help="what has to run it; default: litert")
    objective_help = "what has to be small; download counts the coded file; default: flash"
    add("--objective", choices=list(OBJECTIVES), help=objective_help)
    add("--minutes", type=parse_minutes, help="for all that is made; default: 10")
    add("--output", type=Path, help="folder of the answer; default: compressed")
    add("--cache", type=Path, help="folder that keeps what was computed; default: cache")
    add("--epochs", type=_whole(1, 10_000), help="of each step of fine-tuning; default: by the images")
    add("--seed", type=_whole(0, 2**32 - 1), help="default: 0")
    add("--workers", type=_whole(0, 1024), help="processes; 0 for none but this one; default: one a core")
    given = vars(parser.parse_args(arguments))
    max_drop, unit = given.pop("max_drop")
    try:
        return Request(max_drop=max_drop, per_cent=unit == "%", **given), parser
    except ValueError as error:
        parser.error(str(error))


def _refused(message: str) -> NoReturn:
    # argparse shows the words of this error alone
    raise argparse.ArgumentTypeError(message)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def typed(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            _refused(f"{text!r}: allowed are whole numbers from {least} to {most}")
        return int(text)

    return typed


def _amount(text: str, units: Mapping[str, float], allowed: str) -> tuple[float, str]:
    """A number times its unit, and the unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?([A-Za-z%]*)", text)
    if found is None or found[2] not in units:
        _refused(f"{text!r} is no amount: allowed is a number {allowed}")
    return float(found[1]) * units[found[2]], found[2]


def _above_zero(units: Mapping[str, float], allowed: str) -> Callable[[str], float]:
    def typed(text: str) -> float:
        value, _ = _amount(text, units, allowed)
        if value <= 0:
            _refused(f"{text!r} is nothing: allowed is more than 0")
        return value

    return typed


#: "16KB" is 16,000 bytes, "16 KiB" 16,384.
parse_bytes = _above_zero(BYTES, f"and one of {', '.join(BYTES)}, such as 16KB or 16 KiB")
#: "250us", "1.5ms".
parse_microseconds = _above_zero(MICROSECONDS, f"and one of {', '.join(MICROSECONDS)}, such as 250us")
parse_minutes = _above_zero({"": 1.0}, "of minutes, such as 10 or 0.5")


def parse_drop(text: str) -> tuple[float, str]:
    """A fraction and its unit: "0.5pp" is (0.005, "pp"), percentage points; "5%" of an error (0.05, "%")."""
    fraction, unit = _amount(text, POINTS, f"and one of {', '.join(POINTS)}, such as 0.5pp")
    if fraction > 1:
        _refused(f"{text!r} is more than 100{unit}")
    return fraction, unit
