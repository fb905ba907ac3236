"""The answer in words, every figure of it read from the tables in `results/`."""

import re
from pathlib import Path

import pandas as pd

from ..data.dataset import Kind
from .forms import BASELINE
from .statistics import MARGIN

#: Verdicts of a form that loses nothing.
KEPT = {"equivalent", "better"}


def answer(results: Path, kind: Kind = "image", *, score: str = "accuracy") -> str:
    """Markdown sentences: how much smaller, at what cost, and how sure.

    Args:
        results: the folder with `all-forms.csv`, `claims.csv` and `deployment.csv`.
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
        f"{_unshown(tested)}",
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
            arena = f"needs {devices.arena_bytes.get(least.name, 0):,.0f} bytes of RAM for it"
            on_device = devices.runs_on_tflm.get(least.name)
            lines.append(
                f"- **Smallest {words}:** `{least.name}`, {least.zip_bytes:,.0f} bytes zipped, "
                f"{baseline.zip_bytes / least.zip_bytes:.1f} times fewer than the zipped baseline; in "
                f"flash {least.file_bytes:,.0f}, {baseline.file_bytes / least.file_bytes:.1f} times fewer; "
                f"TFLite Micro {arena if on_device else 'does not run it'}. Test: "
                f"{least.change_pp:+.2f} pp [{least.change_ci_low_pp:+.2f}, {least.change_ci_high_pp:+.2f}] "
                f"against equal training: {least.verdict}; against the baseline "
                f"{100 * (least.accuracy_mean - baseline.accuracy_mean):+.2f} pp."
            )
    return "\n".join(lines)


def headline(said: str) -> str:
    """What a reader sees first of an answer: the baseline, int8, and the smallest files."""
    first = ("- **Baseline", "- **Int8", "- **Smallest")
    return "\n".join(line for line in said.splitlines() if line.startswith(first))


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
    places = (others.net + " on " + others.dataset).unique()
    verdicts = others.groupby("recipe", sort=False).verdict.agg(set)
    worse, kept = verdicts.map(lambda said: "worse" in said), verdicts.map(lambda said: bool(said & KEPT))
    seeds = " or ".join(str(count) for count in sorted(others.seeds.astype(int).unique()))
    lines = [
        f"On {len(places)} other pairs of net and data ({', '.join(places)}; {seeds} seeds) {len(others)} "
        f"rows of {len(verdicts)} forms were tested: {_told(others.verdict)}; with those of the baseline on "
        f"mnist {len(tested)}: {_told(tested.verdict)}. {_unshown(others).rstrip('.')}"
    ]
    # three seeds leave even a large loss undecided where they differ
    lost = others[(others.verdict == "undecided") & (others.change_pp < -LARGE_PP)].sort_values("change_pp")
    spared = ~verdicts.index.isin(lost.recipe)
    at_home = tested[own & tested.verdict.isin(KEPT)].set_index("recipe").verdict.map(" ({} on mnist)".format)
    safe = f"Equivalent or better on one or more, and on none worse or over {LARGE_PP:g} point lower"
    for words, chosen, home in (
        ("Worse on one or more of these, and on none equivalent or better", worse & ~kept, at_home),
        (safe, kept & ~worse & spared, {}),
        ("Both, from pair to pair", worse & kept, {}),
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
        apart = plans[plans.holds == "no"]
        more = (plans.error_pct_there - plans.error_pct_here).round(2)
        most = plans.loc[more.idxmax()]
        lines.append(
            f"The error of {len(plans)} nets of the frontier there is {more.min():+.2f} to {more.max():+.2f} "
            f"points from the one here, higher for {(more > 0).sum()} (most: `{most['name']}`, "
            f"{most.error_pct_here:.2f} % here, {most.error_pct_there:.2f} % there); for {len(apart)} the "
            "95 % interval of the difference leaves out 0."
        )
        if len(apart):
            # images drawn like those there, but used to choose by, say less than those there
            beyond = apart.error_pct_there - apart.validation_error_pct_here
            lines[-1] += (
                " Of these, the validation error here, on images drawn as those there, is lower than the "
                f"error there for {(beyond > 0).sum()}, by up to {beyond.max():.2f} points."
            )
    return "\n".join(lines)


#: Versions whose plans were first found by test error, see CHANGELOG.md.
FOUND_BY_TEST = ("9153060", "3763c24", "fdef774", "04132a4")


def front(frontier: pd.DataFrame) -> str:
    """Sentences: the files of our front with their test errors, and whose plans were found by test error.

    Args:
        frontier: `frontier.csv` of the results; its rows with a file make the front.
    """
    files = frontier[frontier.file.notna()].sort_values("bytes")
    points = [f"{row.bytes:,.0f} bytes at {row.error_pct:.2f} %" for row in files.itertuples()]
    old = files[files.since.isin(FOUND_BY_TEST)]
    sizes = ", ".join(f"{size:,.0f}" for size in old.bytes)
    return (
        f"Whole coded .tflite files, median bytes and mean test error of {files.seeds.max():.0f} seeds: "
        f"{', '.join(points)}. The plans of {len(old)} of these {len(files)} files were first found by test "
        f"error, in a version that looked at it{f' ({sizes} bytes)' * bool(sizes)}."
    )


def fill(text: str, block: str, name: str = "answer") -> str:
    """`text` with what stands between the marks `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: there are no marks.
    """
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"no {name} marks: <!-- {name} --> and <!-- /{name} --> on lines of their own")
    return marks.sub(lambda match: match[1] + block + "\n" + match[2], text)
