"""The answer in words, every figure of it read from the tables in `results/`."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.dataset import Kind
from .devices import speed
from .forms import BASELINE
from .statistics import MARGIN
from .tables import interval

#: Verdicts of a form that loses nothing.
KEPT = {"equivalent", "better"}


def answer(results: Path, kind: Kind = "image", *, score: str = "accuracy") -> str:
    """Markdown sentences: how much smaller, at what cost, and how sure.

    Args:
        results: the folder with `all-forms.csv`, `claims.csv`, `deployment.csv` and, where a form was
            compared with another, `power.csv`.
        kind: of the inputs. score: what accuracy is.
    Raises:
        FileNotFoundError: a table is missing.
    """
    inputs = {"image": "images", "signal": "signals", "table": "rows"}[kind]
    forms = pd.read_csv(results / "all-forms.csv", index_col="recipe")
    claims = pd.read_csv(results / "claims.csv")
    devices = pd.read_csv(results / "deployment.csv", index_col="recipe")
    baseline = forms.loc[BASELINE]
    seeds, tested = int(baseline.seeds), forms[(forms.role == "form") & forms.verdict.notna()]
    lines = [
        f"Test {score} is the mean of {seeds} seed{'s' * (seeds > 1)} on {baseline.test_images:,} {inputs}. "
        "A change is against the float net trained for as long; its 95 % interval takes "
        f"{'seeds and ' * (seeds > 1)}{inputs} as drawn at random, and verdicts are corrected for the "
        f"number of forms, {len(tested)} (Holm), those of the claims for the number of claims. "
        f"{_unshown(tested)}{_power(results / 'power.csv')}",
        "",
        f"- **Baseline:** {baseline.file_bytes:,.0f} bytes as float32 .tflite, {baseline.zip_bytes:,.0f} "
        f"zipped, {100 * baseline.accuracy_mean:.2f} % "
        f"[{100 * baseline.accuracy_ci_low:.2f}, {100 * baseline.accuracy_ci_high:.2f}].",
    ]
    heading = ""
    for row in claims.itertuples():
        # "... and so on" goes on with the claim before
        heading = row.claim if not row.claim.startswith("...") else f"{heading} {row.claim}"
        lines.append(f"- **{heading[0].upper()}{heading[1:]}?** {row.answer} ({row.measured}).")
    # test images judge a form, and choose none
    kept = tested[tested.validation_change_pp >= -100 * MARGIN]
    on_micro = kept[kept.index.isin(devices.index[devices.runs_on_tflm])]
    within = f"that loses at most {100 * MARGIN:g} pp in validation against equal training"
    for words, rows, size in (
        (f"zipped {within}", kept, "zip_bytes"),
        (f"in flash {within}, of those that TFLite Micro runs", on_micro, "file_bytes"),
        ("zipped of all these forms", tested, "zip_bytes"),
    ):
        if len(rows):
            least = rows.sort_values(size).iloc[0]
            arena = f"runs it in an arena of {devices.arena_bytes.get(least.name, 0):,.0f} bytes of RAM"
            on_device = devices.runs_on_tflm.get(least.name)
            lines.append(
                f"- **Smallest {words}:** `{least.name}`, {least.zip_bytes:,.0f} bytes zipped, "
                f"{baseline.zip_bytes / least.zip_bytes:.1f} times smaller than the zipped baseline; "
                f"in flash {least.file_bytes:,.0f}, {baseline.file_bytes / least.file_bytes:.1f} times "
                f"smaller; TFLite Micro {arena if on_device else 'does not run it'}. Test: "
                f"{least.change_pp:+.2f} pp [{least.change_ci_low_pp:+.2f}, {least.change_ci_high_pp:+.2f}] "
                f"against equal training: {least.verdict}; against the baseline "
                f"{100 * (least.accuracy_mean - baseline.accuracy_mean):+.2f} pp."
            )
    return "\n".join(lines)


def headline(said: str) -> str:
    """What a reader sees first of an answer: its points, without how they were measured."""
    return "\n".join(line for line in said.splitlines() if line.startswith("- **"))


def _power(path: Path) -> str:
    """Which changes could have been shown at all."""
    if not path.exists():
        return ""
    table = pd.read_csv(path)
    changes = ", ".join(table.difference_pp.map("{:g}".format))
    chances = ", ".join(table.power_holm.map("{:.0%}".format).str.removesuffix("%"))
    return f" True changes of {changes} pp would be shown with a chance of {chances} %."


#: Points of accuracy that a sentence does not pass over, whatever the verdict.
LARGE_PP = 1.0


def _told(verdicts: pd.Series) -> str:
    counts = verdicts.value_counts()
    return ", ".join(f"{counts.get(each, 0)} {each}" for each in (*sorted(KEPT), "worse", "undecided"))


def _unshown(tested: pd.DataFrame) -> str:
    """Undecided is not unharmed: how many of these lie below nothing, before a correction."""
    undecided = tested[tested.verdict == "undecided"]
    below = int((undecided.change_ci_high_pp < 0).sum())
    return f"Of the {len(undecided)} undecided {below} have an interval wholly below 0."


def elsewhere(pairs: pd.DataFrame) -> str:
    """Sentences: what is said of each form on other pairs of data and net, every row counted.

    Args:
        pairs: `pairs.csv` of the results; the baseline on MNIST is the study's own pair, and only counted.
    """
    tested = pairs[(pairs.role == "form") & pairs.verdict.notna()]
    own = (tested.net == "baseline") & (tested.dataset == "mnist")
    others = tested[~own]
    seeds = others.seeds.astype(int).astype(str)
    places = (others.net + " on " + others.dataset + " with " + seeds + " seeds").unique()
    verdicts = others.groupby("recipe", sort=False).verdict.agg(set)
    worse, kept = verdicts.map(lambda said: "worse" in said), verdicts.map(lambda said: bool(said & KEPT))
    lines = [
        f"On {len(places)} other pairs of net and data ({', '.join(places)}) {len(others)} rows "
        f"of {len(verdicts)} forms were tested: {_told(others.verdict)}; with those of the baseline on "
        f"mnist {len(tested)}: {_told(tested.verdict)}. {_unshown(others).rstrip('.')}"
    ]
    # three seeds leave even a large loss undecided where they differ
    lost = others[(others.verdict == "undecided") & (others.change_pp < -LARGE_PP)].sort_values("change_pp")
    spared = ~verdicts.index.isin(lost.recipe)
    at_home = tested[own & tested.verdict.isin(KEPT)].set_index("recipe").verdict.map(" ({} on mnist)".format)
    safe = f"Equivalent or better on one or more, and on none worse or over {LARGE_PP:g} point lower"
    for words, chosen, home in (
        ("Worse on one or more of these, and on none of them equivalent or better", worse & ~kept, at_home),
        (safe, kept & ~worse & spared, {}),
        ("Worse on one of these, and equivalent or better on another", worse & kept, {}),
    ):
        names = [f"`{name}`{home.get(name, '')}" for name in verdicts.index[chosen]]
        lines.append(f"{words}: {', '.join(names) or 'none'}")
    told = ", ".join(f"`{row.recipe}` {row.change_pp:+.1f} ({row.net})" for row in lost.itertuples())
    if told:
        lines.append(
            f"Undecided although the mean is more than {LARGE_PP:g} point lower, and not to be counted as "
            f"safe: {told}"
        )
    spoilt = pairs[(pairs.role == "control") & (pairs.verdict == "worse")]
    told = ", ".join(f"`{row.recipe}` {row.change_pp:+.2f} ({row.net})" for row in spoilt.itertuples())
    if told:
        lines.append(
            f"Further training itself made the float net worse: {told}; forms compared with it have lost "
            "that much in addition"
        )
    return "".join(f"- {line}.\n" for line in lines).rstrip()


def _named(rows: pd.DataFrame, chosen: "pd.Series[bool]") -> str:
    """The names of some rows, in words."""
    return ", ".join(f"`{name}`" for name in rows.name[chosen]) or "none"


def second_test_set(rotated: pd.DataFrame) -> str:
    """Sentences: what of all that was said holds on test images that nothing was chosen on.

    Args:
        rotated: `rotated.csv` of the results.
    """
    said = rotated[rotated.holds.notna()]
    forms, plans = (said[said.kind == kind] for kind in ("form", "plan"))
    lines = []
    if len(forms):
        counts = forms.holds.value_counts()
        here, there = forms.verdict_here, forms.verdict_there
        both = ((here == "undecided") & (there == "undecided")).sum()
        lines.append(
            f"Of {len(forms)} verdicts on forms and controls {counts.get('yes', 0)} are the same there, "
            f"{counts.get('no', 0)} another ({_named(forms, forms.holds == 'no')}); {both} are undecided on "
            f"both test sets and {counts.get('open', 0) - both} on one. Worse on both: "
            f"{_named(forms, (here == 'worse') & (there == 'worse'))}; worse here, undecided there: "
            f"{_named(forms, (here == 'worse') & (there == 'undecided'))}; undecided here, worse there: "
            f"{_named(forms, (here == 'undecided') & (there == 'worse'))}."
        )
    if len(plans):
        more = plans.error_pct_there - plans.error_pct_here
        dense, apart = plans.name.str.contains("-dense"), plans.holds == "no"
        # images drawn like those there, but used to choose by, say less than those there
        beyond = plans.error_pct_there - plans.validation_error_pct_here
        told = [
            f"the {chosen.sum()} {words} ones {more[chosen].mean():+.2f} points on average "
            f"({100 * more[chosen].mean() / plans.error_pct_here[chosen].mean():.0f} % of their error here), "
            f"with an interval of the difference that leaves out 0 for {(chosen & apart).sum()}"
            for words, chosen in (("dense", dense), ("compressed", ~dense))
            if chosen.any()
        ]
        lines.append(
            f"{(more > 0).sum()} of {len(plans)} nets of the frontier have more error there: "
            f"{'; '.join(told)}. {(beyond > 0).sum()} have more error there than on the validation images "
            f"here, which are drawn as those there are, by up to {beyond.max():.2f} points."
        )
        if len(forms):
            harder = (forms.error_pct_there - forms.error_pct_here).mean()
            lines[-1] += f" Forms and controls have {harder:+.2f} on average: its images are harder."
    return "\n".join(lines)


#: Versions whose plans were first found by test error, see CHANGELOG.md.
FOUND_BY_TEST = ("9153060", "3763c24", "fdef774", "04132a4")


def front(frontier: pd.DataFrame, rotated: pd.DataFrame) -> str:
    """The files of our front as a Markdown table, with what is to be known of their errors.

    Args:
        frontier: `frontier.csv` of the results; its rows with a file make the front.
        rotated: `rotated.csv`, with their errors on the second test set.
    """
    files = (
        frontier[frontier.file.notna()]
        .sort_values("bytes")
        .assign(name=lambda row: row.net + "-" + row.method)
    )
    files = files.merge(rotated[rotated.kind == "plan"], "left", on="name")
    old = files.since.isin(FOUND_BY_TEST)
    rows = [
        f"| {row.bytes:,.0f} | {interval(row.error_pct, row.error_low_pct, row.error_high_pct)} | "
        f"{interval(row.error_pct_there, row.error_low_pct_there, row.error_high_pct_there)} | "
        f"`{row.net}`, {row.method}{' *' * found} |"
        for row, found in zip(files.itertuples(), old, strict=True)
    ]
    half = files.error_high_pct - files.error_pct
    shown = (-files.error_pct.diff() > np.hypot(half, half.shift())).sum()
    table = [
        "| coded bytes | test error, % | on the second test set, % | net, plan |",
        "|--:|--:|--:|---|",
        *rows,
    ]
    return "\n".join(table) + (
        "\n\nWhole coded .tflite files: the median seed's bytes and the mean error of "
        f"{files.seeds.max():.0f} seeds, with its 95 % interval. The error falls from one file to the next "
        f"larger one by more than chance may do in {shown} of {len(files) - 1} steps. On the second test set "
        f"{(files.holds == 'no').sum()} of {len(files)} have an error that is shown to be another. * The "
        f"plans of {old.sum()} files were first found by test error, in a version that looked at it."
    )


def blocks(results: Path) -> dict[str, str]:
    """What is said of the studies beside the notebook, by the name of its place in a page.

    Left out is what has not all of its tables in the folder.
    """
    needed: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
        "pairs": (elsewhere, ("pairs",)),
        "rotated": (second_test_set, ("rotated",)),
        "frontier": (front, ("frontier", "rotated")),
        "speed": (speed, ("latency",)),
    }
    found = {name: [results / f"{table}.csv" for table in tables] for name, (_, tables) in needed.items()}
    return {
        name: needed[name][0](*map(pd.read_csv, paths))
        for name, paths in found.items()
        if all(path.exists() for path in paths)
    }


def fill(text: str, block: str, name: str = "answer") -> str:
    """`text` with what stands between the marks `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: there are no marks.
    """
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"no {name} marks: <!-- {name} --> and <!-- /{name} --> on lines of their own")
    return marks.sub(lambda match: match[1] + block + "\n" + match[2], text)
