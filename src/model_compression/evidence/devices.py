"""What the deployment table says, in words and as a reader wants it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Choice, Runtime

RUNTIME_NAMES: dict[Runtime, str] = {"litert": "LiteRT", "tflm": "TFLite Micro"}
#: Forms that one might hope to be faster -> what speaks against it.
NOT_FASTER = {
    "post_training_quantized": "its weights are 8-bit, but every activation is quantized on the way",
    "int8": "8-bit products are cheaper, but what each layer gives has to be rounded back to 8 bits",
    "int16x8": "XNNPACK has no kernels for 16-bit activations",
    "pruned": "unstructured zeros are multiplied like any other number",
}


def shown(measured: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader wants it: yes and no, and the reasons left to the CSV."""
    view = measured.drop(columns=["runs_on_plain", "xnnpack_agreement", "latency_spread", "reason"])
    for name in ("runs_on_litert", "runs_on_tflm"):
        view[name] = np.where(measured[name], "yes", "no")
    return view


def not_faster(measured: pd.DataFrame) -> str:
    """Markdown: the speed of smaller forms beside the float file's, and why it is no better."""
    rows = measured.set_index("recipe")
    if BASELINE not in rows.index:
        return ""
    base = rows.loc[BASELINE]
    fast, slow = base.latency_us_median, base.plain_us_median
    lines = [f"- `{BASELINE}`: {fast:.1f} us an image, {slow:.1f} without XNNPACK"]
    for name, why in NOT_FASTER.items():
        if name in rows.index:
            one, other = rows.latency_us_median[name], rows.plain_us_median[name]
            lines.append(
                f"- `{name}`: {one:.1f} ({one / fast:.2f} times the float file's), "
                f"{other:.1f} without XNNPACK ({other / slow:.2f} times): {why}"
            )
    return "\n".join(lines)


def refusals(measured: pd.DataFrame) -> str:
    """Markdown: which forms a runtime refuses or computes wrongly, those of one reason together.

    Last come the forms that both runtimes run, with a label that differs here and there.
    """
    refused = measured[measured.reason != ""]
    lines = [
        f"- {_names(names)}: {_code_free(reason)}"
        for reason, names in refused.groupby("reason", sort=False).recipe.apply(list).items()
    ]
    differing = measured[measured.tflm_agreement < 1]
    if len(differing):
        least = 100 * (1 - differing.tflm_agreement.min())
        lines.append(
            f"- {_names(differing.recipe)}: run on both, and at most {least:.2g} % of the labels differ. The "
            "kernels round now and then to neighbouring integers, which shows where two outputs nearly tie"
        )
    return "\n".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _code_free(reason: str) -> str:
    """Underscores and angle brackets would be read as Markdown."""
    return reason.replace("_", r"\_").replace("<", r"\<")


def sentence(choice: Choice, path: Path, *, max_drop: float, runtime: Runtime) -> str:
    """The answer in one line.

    Args:
        path: of the chosen file, as a reader should see it.
        max_drop, runtime: what `smallest.smallest` was asked for.
    """
    form = choice.form
    if form is None or not choice.fits:
        return f"{choice}."
    which = (
        f"the smallest of {choice.fitting} forms that run"
        if choice.fitting > 1
        else "the only form that runs"
    )
    arena = "" if form.arena_bytes is None else f", {form.arena_bytes:,} of arena"
    sign, unit = (1, "% of error") if form.of_values else (-1, "pp")
    return (
        f"**`{path.as_posix()}`** is {which} on {RUNTIME_NAMES[runtime]} within {100 * max_drop:.2f} "
        f"{unit} of the float net on validation images ({100 * sign * form.drop:+.2f} {unit}): "
        f"{form.flash_bytes:,} bytes of flash{arena}."
    )
