"""The one-page report of `python -m model_compression`: Markdown, from an answer's figures."""

from pathlib import Path

import numpy as np

from ..files import running
from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Candidate
from .command import Answer, Request


def report(answer: Answer, request: Request, files: list[str]) -> str:
    """The page.

    Args:
        files: names of what is written beside it.
    """
    return "\n".join(
        [
            f"# {request.model.name}, compressed for {_RUNTIMES[request.runtime]}",
            "",
            *_answer(answer, request, files),
            "",
            "## What was asked",
            "",
            f"- model: `{request.model}`, {answer.parameters:,} parameters, batch normalization folded",
            f"- data: `{request.data}`",
            f"- limits: {'; '.join(_limits(request))}",
            *(f"- {note}" for note in answer.notes),
            "",
            *_feeding(answer),
            "## Every form",
            "",
            *_table(answer, request),
            "",
            f"Accuracies are of {answer.images:,} validation images, where one image is "
            f"{100 / answer.images:.2f} pp. Flash is the file itself; TFLite Micro's kernels come on top.",
            *_left_out(answer),
            "",
        ]
    )


_RUNTIMES = {"litert": "LiteRT", "tflm": "TFLite Micro"}


def sentence(answer: Answer, folder: Path, files: list[str]) -> str:
    """The answer in one line."""
    form = answer.choice.form
    if form is None or not answer.choice.fits:
        return f"{answer.choice}"
    return (
        f"{folder / files[0]}: {form.name}, {form.flash_bytes:,} bytes, "
        f"{100 * -form.drop:+.2f} pp of validation accuracy"
    )


def _answer(answer: Answer, request: Request, files: list[str]) -> list[str]:
    choice, form = answer.choice, answer.choice.form
    if form is None:
        return ["**No form runs on this runtime.** The reasons stand below."]
    if not choice.fits:
        return [
            f"**Nothing fits.** `{form.name}` comes closest:",
            "",
            *(f"- {broken}" for broken in choice.broken),
        ]
    chosen, baseline = answer.outcome(form.name).record, answer.outcomes[BASELINE].record
    times = baseline.file_bytes / form.flash_bytes
    return [
        f"**`{files[0]}`** is the smallest of {choice.fitting} forms within the limits: "
        f"{form.flash_bytes:,} bytes instead of {baseline.file_bytes:,}, {times:.1f} times smaller "
        f"({form.zip_bytes:,} bytes zipped).",
        "",
        "| | float model | this file |",
        "|---|---:|---:|",
        f"| accuracy, validation images | {baseline.validation_accuracy:.2%} "
        f"| {form.validation_accuracy:.2%} |",
        f"| accuracy, test images (scored once, no part in the choice) | {baseline.accuracy:.2%} "
        f"| {chosen.accuracy:.2%} |",
        *([f"| arena, bytes | | {form.arena_bytes:,} |"] if form.arena_bytes is not None else []),
        *([f"| latency here, us an image | | {form.latency_us:,.1f} |"] if form.latency_us else []),
        "",
        f"C++ source: {', '.join(f'`{name}`' for name in files[1:])}.",
    ]


def _feeding(answer: Answer) -> list[str]:
    """A line of code for an image as the model took it, and what comes out."""
    form = answer.choice.form
    if form is None or not answer.choice.fits or b"TFLM_DECODE" in answer.contents[form.name]:
        return []
    details = running.io_details(answer.contents[form.name])
    line = 'x.astype("float32")'
    if details.input_scale:
        limits = np.iinfo(details.input_dtype)
        shifted = f"x / {details.input_scale!r} + {details.input_zero_point}"
        line = (
            f'numpy.clip(numpy.rint({shifted}), {limits.min}, {limits.max}).astype("{details.input_dtype}")'
        )
    given = "interpreter.get_tensor(outputs[0]['index'])"
    if details.output_scale:
        given = f"({given}.astype(float) - {details.output_zero_point}) * {details.output_scale!r}"
    return [
        "## Feeding it",
        "",
        f"`x` is what the model took, of the same range, with the batch in front: "
        f"{' x '.join(map(str, answer.input_shape))} numbers an image.",
        "",
        "```python",
        f"interpreter.set_tensor(inputs[0]['index'], {line})",
        "interpreter.invoke()",
        f"outputs = {given}",
        "```",
        "",
    ]


def _limits(request: Request) -> list[str]:
    limits = [f"accuracy drop at most {100 * request.max_drop:.2f} pp"]
    if request.max_flash is not None:
        limits.append(f"flash at most {request.max_flash:,.0f} bytes")
    if request.max_arena is not None:
        limits.append(f"arena at most {request.max_arena:,.0f} bytes")
    if request.max_latency_us is not None:
        limits.append(f"latency on this machine's LiteRT at most {request.max_latency_us:,.1f} us")
    return limits


def _table(answer: Answer, request: Request) -> list[str]:
    def row(form: Candidate) -> str:
        arena = f"{form.arena_bytes:,}" if form.arena_bytes is not None else ""
        latency = f"{form.latency_us:,.1f}" if form.latency_us is not None else ""
        runs = "yes" if form.runs_on(request.runtime) else f"no: {form.why_not or 'LiteRT refuses it'}"
        return (
            f"| {form.name} | {form.flash_bytes:,} | {form.zip_bytes:,} | {100 * -form.drop:+.2f} "
            f"| {arena} | {latency} | {runs.replace('|', '/')} |"
        )

    forms = sorted(answer.candidates.values(), key=lambda form: (form.flash_bytes, form.zip_bytes))
    return [
        "| form | flash, bytes | zipped, bytes | accuracy change, pp | arena, bytes | latency, us | runs |",
        "|---|---:|---:|---:|---:|---:|---|",
        *map(row, forms),
    ]


def _left_out(answer: Answer) -> list[str]:
    lines: list[str] = []
    if answer.skipped:
        lines += ["", "## Forms left out", ""]
        lines += [f"- {name}: {reason}" for name, reason in answer.skipped.items()]
    if answer.left_alone:
        lines += ["", "## Layers left alone", ""]
        by_layers: dict[tuple[str, tuple[str, ...]], None] = {}
        for methods in answer.left_alone.values():
            by_layers |= {(method, tuple(layers)): None for method, layers in methods.items()}
        lines += [f"- by {method}: {', '.join(layers)}" for method, layers in sorted(by_layers)]
    return lines
