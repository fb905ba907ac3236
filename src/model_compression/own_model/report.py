"""What is written of an answer: the file, its C++ source, and a page of Markdown and HTML with a picture."""

import base64
import re
from pathlib import Path

import matplotlib
import mistune
import numpy as np
from matplotlib.figure import Figure

from ..data.labels import variance
from ..evidence import layers
from ..evidence.devices import RUNTIME_NAMES, plainly
from ..evidence.placing import label_points, make_room
from ..evidence.style import DPI, GREY, STYLE, WIDTH, method_of
from ..evidence.tables import png
from ..files.graph import read_graph
from ..runtimes.deployment import BASELINE
from ..runtimes.firmware import ends, firmware
from ..runtimes.smallest import Candidate
from ..store import write_atomically
from ..templates import fill
from .request import Request
from .search import Search

_HERE = Path(__file__).parent
PICTURE = "report.png"
_as_html = mistune.create_markdown(plugins=["table"])
#: What the picture's lower axis shows, by the objective.
_AXES = {
    "flash": "bytes of the file",
    "download": "bytes of the file, coded",
    "arena": "bytes of TFLite Micro's arena",
    "latency": "microseconds an image, LiteRT on this machine",
}


def earlier(request: Request) -> list[str]:
    """Names of the files that lie in the folder as an earlier answer for this model, by its report."""
    page = request.output / "report.md"
    said = page.read_text(encoding="utf-8", errors="replace") if page.exists() else ""
    if not said.startswith(f"# {request.model.name}, compressed for "):
        return []
    lines = [line for line in said.splitlines() if line.startswith(("**`", "C++ source: "))]
    return re.findall(r"`([^`/]+)`", " ".join(lines))


def publish(search: Search, before: list[str]) -> list[str]:
    """Write the answer and its report; names of the model's files, none where nothing fits.

    The model comes first, then its C++ source. The report is Markdown with a picture beside it, and HTML that
    holds its picture.

    Args:
        before: names that an answer before this one had; those that are not of this one are taken away.
    """
    request, form, parts = search.request, search.choice.form, dict[str, bytes]()
    if form and search.choice.fits:
        name = f"{request.model.stem}_{form.name}.tflite"
        parts[name] = search.files[form.name]
        source = firmware(parts[name], name, arena_bytes=form.arena_bytes)
        parts |= {each: text.encode() for each, text in source.items()}
    title = f"{request.model.name}, compressed for {RUNTIME_NAMES[request.runtime]}"
    page, picture = _markdown(search, list(parts), title), png(_picture(search))
    shown = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    body = str(_as_html(page)).replace(f'src="{PICTURE}"', f'src="{shown}"')
    html = fill(_HERE / "report.html.jinja", title=title, body=body)
    pages = {"report.md": page.encode(), PICTURE: picture, "report.html": html.encode()}
    for name, content in (parts | pages).items():
        write_atomically(request.output / name, content)
    for name in before:
        if name not in parts:
            (request.output / name).unlink(missing_ok=True)
    return list(parts)


def _markdown(search: Search, files: list[str], title: str) -> str:
    request, choice, form = search.request, search.choice, search.choice.form
    reasons: dict[str, list[str]] = {}
    for name, reason in search.skipped.items():
        reasons.setdefault(plainly(reason), []).append(name)
    alone = {
        (method, tuple(layers))
        for methods in search.made.left_alone.values()
        for method, layers in methods.items()
    }
    return fill(
        _HERE / "report.md.jinja",
        search=search,
        request=request,
        choice=choice,
        form=form,
        title=title,
        files=files,
        picture=PICTURE,
        change=_points,
        plainly=plainly,
        of_values=search.made.fed.of_values,
        images=len(search.made.fed.y_val),
        before=search.candidates[BASELINE],
        told=_told(search, form) if form and choice.fits else "",
        qualities=_qualities(search, form) if form and choice.fits else [],
        **(ends(read_graph(search.files[form.name])) if form and choice.fits else {}),
        remembers=any("reset_all_variables" in note for note in search.made.notes),
        forms=sorted(search.candidates.values(), key=lambda each: (each.size(request.objective), each.name)),
        reasons=list(reasons.items()),
        alone=sorted(alone),
        layers=layers,
    )


def _told(search: Search, form: Candidate) -> str:
    """What the objective measures of a form and of the float model, where that is no file's bytes."""
    objective = search.request.objective
    units = {"download": "bytes coded", "arena": "bytes of arena", "latency": "microseconds"}
    if objective not in units:
        return ""
    sizes = [each.size(objective) for each in (form, search.candidates[BASELINE])]
    shown = "{:,.1f}" if objective == "latency" else "{:,.0f}"
    figures = [shown.format(size) for size in sizes if size < np.inf]
    return f": {' instead of '.join(figures)} {units[objective]}; as a file"


@matplotlib.rc_context(STYLE)
def _picture(search: Search) -> Figure:
    """What has to be small against accuracy, the chosen form ringed, what is lost by the limit grey."""
    request = search.request
    figure = Figure(figsize=(WIDTH, 5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", xlabel=_AXES[request.objective], ylabel=f"{_score(search)}, validation, %")
    points = [
        (form.size(request.objective), 100 * form.validation_accuracy, form.name)
        for form in search.candidates.values()
        if form.size(request.objective) < float("inf")
    ]
    if not points:
        return figure
    xs, ys, _ = zip(*points, strict=True)
    for x, y, name in points:
        runs = search.candidates[name].runs_on(request.runtime)
        axes.scatter(x, y, color=method_of(name)[1] if runs else GREY, zorder=3)
        if search.choice.fits and search.choice.form is search.candidates[name]:
            axes.scatter(x, y, s=160, facecolor="none", edgecolor="black", zorder=4)
    least = 100 * search.candidates[points[0][2]].least_accuracy(request.max_drop)
    axes.axhline(least, color=GREY, linestyle="--", linewidth=1)
    # forms that compute nonsense would press the others together
    axes.set_ylim(max(min(ys), 2 * least - max(ys) - 2) - 0.5, max(ys) + 0.5)
    make_room(axes, xs)
    low = axes.get_ylim()[0]
    label_points(axes, *zip(*(point for point in points if point[1] >= low), strict=True))
    return figure


def _score(search: Search) -> str:
    """What a form is judged by."""
    data = search.made.fed
    of_one = "explained variance" if data.of_values else "accuracy"
    return "mean score of the outputs" if data.outputs else of_one


def sentence(search: Search, files: list[str]) -> str:
    """The answer in one line."""
    choice, form = search.choice, search.choice.form
    if form is None or not choice.fits:
        return str(choice)
    what = (
        "% of the float model's error on validation data" if form.of_values else "pp of validation accuracy"
    )
    path = search.request.output / files[0]
    return f"{path}: {form.name}, {form.flash_bytes:,} bytes, {_points(form)} {what}"


def _points(form: Candidate) -> str:
    """What a form gains on validation images, in points, or by how much its error grows, in per cent."""
    # without a minus before nothing
    return f"{round((100 if form.of_values else -100) * form.drop, 2) + 0.0:+.2f}"


def _qualities(search: Search, form: Candidate) -> list[tuple[str, str, str]]:
    """The float model's quality beside the chosen form's: what it is, and both."""
    data = search.made.fed
    outcomes = search.outcomes[BASELINE], search.outcome(form.name)
    scores = {
        "validation": [outcome.record.validation_accuracy for outcome in outcomes],
        "test": [outcome.record.accuracy for outcome in outcomes],
    }
    notes = {"validation": "", "test": " (scored once, no part in the choice)"}
    if data.outputs or not data.of_values:
        return [
            (f"{_score(search)}, {split} images{notes[split]}", f"{before:.2%}", f"{after:.2%}")
            for split, (before, after) in scores.items()
        ]
    spreads = {"validation": variance(data.y_val), "test": variance(data.y_test)}
    targets = data.y_test.reshape(len(data.y_test), -1)
    errors = {
        f"mean squared error, {split}{notes[split]}": [(1 - score) * spreads[split] for score in both]
        for split, both in scores.items()
    }
    errors["mean absolute error, test"] = [
        float(np.mean(np.abs(outcome.predictions - targets))) for outcome in outcomes
    ]
    return [(what, f"{before:.4g}", f"{after:.4g}") for what, (before, after) in errors.items()]
