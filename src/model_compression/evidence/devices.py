"""What the deployment table says, in words and as a reader wants it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Choice, Runtime

RUNTIME_NAMES: dict[Runtime, str] = {"litert": "LiteRT", "tflm": "TFLite Micro"}

#: What tools say in terms of their own code, and the same in words.
_PLAIN = {
    # kernels are not what activations are
    r"TFLM: (Hybrid models|Input type: FLOAT32 with filter|input->type == kTfLiteInt8).*": "TFLM: has no "
    "operators for float activations with kernels in integers or halves",
    r"(?s)failed to create XNNPACK runtime.*": "LiteRT's XNNPACK cannot prepare the file",
    r"LiteRT: [^;]*TFLM_DECODE.*": "LiteRT: look-up tables are for TFLM alone",
    # tracing puts its way through the code before an error
    r"(?s)in user code:.*Error: ([^\n]+).*": r"\1",
}


def plainly(reason: str) -> str:
    """Why a form cannot be, in a line of words."""
    for pattern, words in _PLAIN.items():
        reason = re.sub(pattern, words, reason)
    return " ".join(reason.split())


def shown(measured: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader wants it: yes and no, and the reasons left to the CSV."""
    view = measured.drop(columns=["runs_on_plain", "processor", "reason"])
    for name in ("runs_on_litert", "runs_on_tflm"):
        view[name] = np.where(measured[name], "yes", "no")
    return view


#: What a latency is told by, of the columns of the deployment table.
TIMED = ["processor", "recipe", "latency_us_median", "latency_spread", "flash_bytes"]


def latencies(measured: pd.DataFrame) -> pd.DataFrame:
    """The files that LiteRT runs, with what `speed` asks of each."""
    return measured.loc[measured.runs_on_litert, TIMED]


def speed(latencies: pd.DataFrame) -> str:
    """Markdown: how many of the forms that are smaller than the float file are faster too, by processor.

    Faster or slower is what is so by more than processes, or rounds, differ in either of the two files.
    """
    lines = []
    for processor, rows in latencies.set_index("recipe").groupby("processor", sort=False):
        timed = rows[rows.flash_bytes < rows.flash_bytes.get(BASELINE, 0)]
        if timed.empty:
            continue
        baseline = rows.loc[BASELINE]
        times = timed.latency_us_median / baseline.latency_us_median
        apart = np.maximum(timed.latency_spread, baseline.latency_spread)
        faster, slower = int((times < 1 - apart).sum()), int((times > 1 + apart).sum())
        int8 = f"`int8` takes {times['int8']:.2f} times as long, " if "int8" in times else ""
        lines.append(
            f"- {processor}: of {len(timed)} smaller files {faster} {'is' if faster == 1 else 'are'} faster "
            f"and {slower} slower than the float file by more than fresh processes differ, a median of "
            f"{100 * apart.median():.1f} % and {100 * apart.max():.1f} % at most; {int8}"
            f"`{times.idxmax()}` the longest, {times.max():.1f} times."
        )
    return "\n".join(lines) or "No smaller file was timed."


def refusals(measured: pd.DataFrame) -> str:
    """Markdown: which forms a runtime refuses or computes wrongly, those of one reason together.

    Last come the forms that both runtimes run, with a label that differs here and there.
    """
    named = measured.assign(recipe="`" + measured.recipe + "`", reason=measured.reason.map(plainly))
    refused = named[named.reason != ""].groupby("reason", sort=False).recipe.agg(", ".join)
    # underscores and angle brackets would be read as Markdown
    reasons = refused.index.str.replace("_", r"\_").str.replace("<", r"\<")
    lines = [f"- {names}: {reason}" for reason, names in zip(reasons, refused, strict=True)]
    differing = named[named.runs_on_litert & (named.tflm_agreement < 1)]
    if len(differing):
        names, least = ", ".join(differing.recipe), 100 * (1 - differing.tflm_agreement.min())
        lines.append(
            f"- {names}: run on both, and at most {least:.2g} % of the labels differ. The "
            "kernels round now and then to neighbouring integers, which shows where two outputs nearly tie"
        )
    return "\n".join(lines)


def sentence(choice: Choice, path: Path, *, max_drop: float, runtime: Runtime) -> str:
    """The answer in one line.

    Args:
        path: of the chosen file, as a reader should see it.
        max_drop, runtime: what `smallest.smallest` was asked for.
    """
    form = choice.form
    if form is None or not choice.fits:
        said = f"{choice}."
        return said[0].upper() + said[1:]
    several = f"the smallest of {choice.fitting} forms that run"
    which = several if choice.fitting > 1 else "the only form that runs"
    arena = "" if form.arena_bytes is None else f", {form.arena_bytes:,} of arena"
    sign, unit = (1, "% of error") if form.of_values else (-1, "pp")
    # what is added makes no change +0.00 and not -0.00
    change = 100 * sign * form.drop + 0.0
    return (
        f"**`{path.as_posix()}`** is {which} on {RUNTIME_NAMES[runtime]} within {100 * max_drop:.2f} "
        f"{unit} of the float net on validation data ({change:+.2f} {unit}): "
        f"{form.flash_bytes:,} bytes of flash{arena}."
    )
