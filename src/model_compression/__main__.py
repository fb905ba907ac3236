"""Compress your own model: `python -m model_compression --model my.keras --data my.npz --max-drop 0.5pp`.

Ends with 0 when a form within the limits was written, 1 when nothing fits (it says what came closest), and 2
for bad input, in one line. `slim model.tflite` instead writes a smaller file of the same outputs: see
`own_model.slim`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from .own_model.units import parse_bytes, parse_drop, parse_microseconds, parse_minutes

T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    """One line on bad input, where argparse prints its usage too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser whose message argparse shows as it is."""

    def typed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def _whole(least: int, most: int) -> Callable[[str], int]:
    def typed(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from {least} to {most}")
        return int(text)

    return typed


_DROP = "accuracy you can lose, such as 0.5pp; of values to predict, rise of the error, such as 5%%"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m model_compression",
        description="Write the smallest form of a Keras model within limits: file, C++ source, report.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, type=Path, help="saved Keras model: .keras, .h5 or a SavedModel")
    add("--data", required=True, help="mnist, fashion_mnist, or an .npz of x_train, y_train, x_test, y_test")
    add("--max-drop", required=True, type=_checked(parse_drop), help=_DROP)
    add("--max-flash", type=_checked(parse_bytes), help="such as 16KB or 16KiB")
    add("--max-arena", type=_checked(parse_bytes), help="RAM on TFLite Micro, such as 32KiB")
    add("--max-latency", type=_checked(parse_microseconds), help="LiteRT on this machine, such as 250us")
    add("--runtime", choices=("litert", "tflm"), default="litert", help="what has to run it")
    add(
        "--objective",
        choices=("flash", "download", "arena", "latency"),
        default="flash",
        help="what has to be small; download counts the coded file",
    )
    add("--minutes", type=_checked(parse_minutes), default=10.0, help="for all that is made; default: 10")
    add("--output", type=Path, default=Path("compressed"), help="folder of the answer")
    add("--cache", type=Path, default=Path("cache"), help="folder that keeps what was computed")
    add("--epochs", type=_whole(1, 10_000), help="of each step of fine-tuning; default: by the images")
    add("--seed", type=_whole(0, 2**32 - 1), default=0)
    add("--workers", type=_whole(0, 1024), help="processes; 0 for none but this one; default: one a core")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["slim"]:
        from .own_model import slim

        about = "Write a .tflite file that gives the same outputs, bit for bit, in fewer bytes."
        slimming = _Parser(prog="python -m model_compression slim", description=about, allow_abbrev=False)
        return slim.main(arguments[1:], slimming)
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.runtime != "tflm" and (given.max_arena is not None or given.objective == "arena"):
        asked = "--objective arena" if given.max_arena is None else "--max-arena"
        parser.error(f"{asked} goes with --runtime tflm: LiteRT has no arena of a fixed size")
    if given.runtime != "litert" and (given.max_latency is not None or given.objective == "latency"):
        asked = "--objective latency" if given.max_latency is None else "--max-latency"
        parser.error(f"{asked} goes with --runtime litert: this machine says nothing of a device's time")
    # TensorFlow takes seconds to import: bad arguments are told before
    from tqdm import tqdm

    from .data.datasets import DataUnavailableError
    from .own_model import command
    from .own_model import report as answer_report

    request = command.Request(
        model=given.model,
        data=given.data,
        max_drop=given.max_drop[0],
        per_cent=given.max_drop[1] == "%",
        max_flash=given.max_flash,
        max_arena=given.max_arena,
        max_latency_us=given.max_latency,
        runtime=given.runtime,
        objective=given.objective,
        minutes=given.minutes,
        output=given.output,
        cache=given.cache,
        epochs=given.epochs,
        seed=given.seed,
        workers=given.workers,
    )
    files: list[str] = []
    warnings: list[str] = []
    started, said = time.monotonic(), [""]

    def publish(answer: command.Answer) -> None:
        files[:] = answer_report.publish(answer, request, files)
        warnings[:] = answer.warnings
        sentence = answer_report.sentence(answer, given.output, files)
        if sentence != said[-1] and files:
            tqdm.write(f"{time.monotonic() - started:.0f} s: {sentence}", file=sys.stderr)
        said.append(sentence)

    try:
        answer = command.run(request, publish)
    except (ValueError, OSError, DataUnavailableError) as error:
        parser.error(" ".join(str(error).split()))
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted before there was a file\n")
    print(said[-1])
    for warning in warnings:
        print(f"warning: {warning}")
    print(f"report: {given.output / 'report.md'}")
    return 0 if answer.choice.fits else 1


if __name__ == "__main__":
    sys.exit(main())
