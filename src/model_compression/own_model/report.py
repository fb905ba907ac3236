"""The one-page report of `python -m model_compression`: Markdown and HTML, from an answer's figures."""

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from nbconvert.filters import markdown2html

from ..data.labels import variance
from ..evidence.placing import label_points, make_room
from ..evidence.style import DPI, GREY, STYLE, WIDTH, method_of
from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Candidate
from . import command
from .command import Answer, Request
from .feeding import feeding

PAGE, PICTURE = "report.html", "report.png"
#: What the picture's lower axis shows, by the objective.
_AXES = {
    "flash": "bytes of the file",
    "download": "bytes of the file, coded",
    "arena": "bytes of TFLite Micro's arena",
    "latency": "microseconds an image, LiteRT on this machine",
}
#: Wide tables scroll, and a dark page is read as well as a light one.
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-size: 14px }}
th, td {{ border-bottom: 1px solid #8886; padding: .2rem .6rem; text-align: right }}
th:first-child, td:first-child, td:last-child {{ text-align: left }}
img {{ max-width: 100% }} pre {{ overflow-x: auto }}
</style>
"""


def publish(answer: Answer, request: Request, before: list[str]) -> list[str]:
    """Write the answer and its report; names of the model's files, none where nothing fits.

    Args:
        before: names that an answer before this one had; those that are not of this one are taken away.
    """
    parts = command.parts(answer, request)
    pages = report(answer, request, list(parts))
    stale = [name for name in before if name not in parts]
    command.write({**parts, **pages}, request.output, stale=stale)
    return list(parts)


def report(answer: Answer, request: Request, files: list[str]) -> dict[str, bytes]:
    """The page as Markdown with a picture beside it, and as HTML that holds its picture.

    Args:
        files: names of what is written beside it.
    """
    title = f"{request.model.name}, compressed for {_RUNTIMES[request.runtime]}"
    page, picture = markdown(answer, request, files, title), _picture(answer, request)
    shown = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    html = _HEAD.format(title=title) + markdown2html(page).replace(f'src="{PICTURE}"', f'src="{shown}"')
    return {"report.md": page.encode(), PICTURE: picture, PAGE: html.encode()}


def markdown(answer: Answer, request: Request, files: list[str], title: str) -> str:
    """The page."""
    return "\n".join(
        [
            f"# {title}",
            "",
            *_answer(answer, request, files),
            "",
            *(f"**Mind:** {warning}.\n" for warning in answer.warnings),
            f"![Every form]({PICTURE})",
            "",
            "## What was asked",
            "",
            f"- model: `{request.model}`, {answer.parameters:,} parameters, batch normalization folded",
            f"- data: `{request.data}`",
            f"- smallest by {request.objective}, within {request.minutes:g} minutes",
            f"- limits: {'; '.join(_limits(request, of_values=answer.data.of_values))}",
            *(f"- {note}" for note in answer.notes),
            "",
            *_fed(answer),
            "## Every form",
            "",
            *_table(answer, request),
            "",
            f"{_measured(answer)} Flash is the file itself; TFLite Micro's kernels come on top. "
            "Coded is the file under the coder that makes it shortest, as it is sent.",
            *_left_out(answer),
            "",
        ]
    )


def _picture(answer: Answer, request: Request) -> bytes:
    """What has to be small against accuracy, the chosen form ringed, what is lost by the limit grey."""
    forms = [form for form in answer.candidates.values() if form.size(request.objective) < float("inf")]
    xs = [form.size(request.objective) for form in forms]
    ys = [100 * form.validation_accuracy for form in forms]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        axes.set(xscale="log", xlabel=_AXES[request.objective], ylabel="accuracy, validation, %")
        if forms:
            for form, x, y in zip(forms, xs, ys, strict=True):
                runs = form.runs_on(request.runtime)
                axes.scatter(x, y, color=method_of(form.name)[1] if runs else GREY, zorder=3)
                if answer.choice.fits and form is answer.choice.form:
                    axes.scatter(x, y, s=160, facecolor="none", edgecolor="black", zorder=4)
            least = 100 * (forms[0].baseline_accuracy - request.max_drop)
            axes.axhline(least, color=GREY, linestyle="--", linewidth=1)
            # forms that compute nonsense would press the others together
            axes.set_ylim(max(min(ys), 2 * least - max(ys) - 2) - 0.5, max(ys) + 0.5)
            make_room(axes, xs)
            low = axes.get_ylim()[0]
            named = [(x, y, form.name) for form, x, y in zip(forms, xs, ys, strict=True) if y >= low]
            label_points(axes, *zip(*named, strict=True))
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


_RUNTIMES = {"litert": "LiteRT", "tflm": "TFLite Micro"}


def sentence(answer: Answer, folder: Path, files: list[str]) -> str:
    """The answer in one line."""
    form = answer.choice.form
    if form is None or not answer.choice.fits:
        return f"{answer.choice}"
    what = (
        "% of the float model's error on validation data" if form.of_values else "pp of validation accuracy"
    )
    return f"{folder / files[0]}: {form.name}, {form.flash_bytes:,} bytes, {_points(form)} {what}"


def _measured(answer: Answer) -> str:
    """What the forms are compared by."""
    count = len(answer.data.y_val)
    if answer.data.of_values:
        return f"The error is the mean squared one of {count:,} validation inputs."
    return f"Accuracies are of {count:,} validation images, where one image is {100 / count:.2f} pp."


def _qualities(answer: Answer, form: Candidate) -> list[str]:
    """Rows of the float model's quality beside the chosen form's."""
    chosen, baseline = answer.outcome(form.name).record, answer.outcomes[BASELINE].record
    pairs = {
        "validation": (baseline.validation_accuracy, form.validation_accuracy),
        "test": (baseline.accuracy, chosen.accuracy),
    }
    notes = {"validation": "", "test": " (scored once, no part in the choice)"}
    if answer.data.outputs or not answer.data.of_values:
        what = "mean score of the outputs" if answer.data.outputs else "accuracy"
        return [
            f"| {what}, {split} images{notes[split]} | {before:.2%} | {after:.2%} |"
            for split, (before, after) in pairs.items()
        ]
    spreads = {"validation": variance(answer.data.y_val), "test": variance(answer.data.y_test)}
    rows = [
        f"| mean squared error, {split}{notes[split]} "
        f"| {(1 - before) * spreads[split]:.4g} | {(1 - after) * spreads[split]:.4g} |"
        for split, (before, after) in pairs.items()
    ]
    targets = answer.data.y_test.reshape(len(answer.data.y_test), -1)
    absolute = [
        float(np.mean(np.abs(answer.outcome(name).predictions - targets))) for name in (BASELINE, form.name)
    ]
    return [*rows, f"| mean absolute error, test | {absolute[0]:.4g} | {absolute[1]:.4g} |"]


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
    baseline = answer.outcomes[BASELINE].record
    times = baseline.file_bytes / form.flash_bytes
    return [
        f"**`{files[0]}`** is the smallest of {choice.fitting} forms within the limits, by "
        f"{request.objective}: "
        f"{form.flash_bytes:,} bytes instead of {baseline.file_bytes:,}, {times:.1f} times smaller "
        f"({form.coded_bytes:,} bytes coded).",
        "",
        "| | float model | this file |",
        "|---|---:|---:|",
        *_qualities(answer, form),
        *([f"| arena, bytes | | {form.arena_bytes:,} |"] if form.arena_bytes is not None else []),
        *([f"| latency here, us an image | | {form.latency_us:,.1f} |"] if form.latency_us else []),
        "",
        f"C++ source: {', '.join(f'`{name}`' for name in files[1:])}.",
    ]


def _fed(answer: Answer) -> list[str]:
    form = answer.choice.form
    if form is None or not answer.choice.fits or b"TFLM_DECODE" in answer.contents[form.name]:
        return []
    return feeding(answer.contents[form.name])


def _points(form: Candidate) -> str:
    """What a form gains on validation images, in points, or by how much its error grows, in per cent."""
    # without a minus before nothing
    return f"{round((100 if form.of_values else -100) * form.drop, 2) + 0.0:+.2f}"


def _limits(request: Request, *, of_values: bool) -> list[str]:
    limits = [f"accuracy drop at most {100 * request.max_drop:.2f} pp"]
    if of_values:
        limits = [f"error at most {100 * request.max_drop:.2f} % above the float model's"]
    if request.max_flash is not None:
        limits.append(f"flash at most {request.max_flash:,.0f} bytes")
    if request.max_arena is not None:
        limits.append(f"arena at most {request.max_arena:,.0f} bytes")
    if request.max_latency_us is not None:
        limits.append(f"latency on this machine's LiteRT at most {request.max_latency_us:,.1f} us")
    return limits


def _table(answer: Answer, request: Request) -> list[str]:
    change = "error change, %" if answer.data.of_values else "accuracy change, pp"

    def row(form: Candidate) -> str:
        arena = f"{form.arena_bytes:,}" if form.arena_bytes is not None else ""
        latency = f"{form.latency_us:,.1f}" if form.latency_us is not None else ""
        runs = "yes" if form.runs_on(request.runtime) else f"no: {form.why_not or 'LiteRT refuses it'}"
        return (
            f"| {form.name} | {form.flash_bytes:,} | {form.coded_bytes:,} | {_points(form)} "
            f"| {arena} | {latency} | {runs.replace('|', '/')} |"
        )

    forms = sorted(answer.candidates.values(), key=lambda form: (form.size(request.objective), form.name))
    return [
        f"| form | flash, bytes | coded, bytes | {change} | arena, bytes | latency, us | runs |",
        "|---|---:|---:|---:|---:|---:|---|",
        *map(row, forms),
    ]


def _left_out(answer: Answer) -> list[str]:
    lines: list[str] = []
    if answer.skipped:
        lines += ["", "## Forms left out", ""]
        reasons: dict[str, list[str]] = {}
        for name, reason in answer.skipped.items():
            reasons.setdefault(reason, []).append(name)
        lines += [f"- {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    if answer.left_alone:
        lines += ["", "## Layers left alone", ""]
        by_layers: dict[tuple[str, tuple[str, ...]], None] = {}
        for methods in answer.left_alone.values():
            by_layers |= {(method, tuple(layers)): None for method, layers in methods.items()}
        lines += [f"- by {method}: {', '.join(layers)}" for method, layers in sorted(by_layers)]
    return lines
