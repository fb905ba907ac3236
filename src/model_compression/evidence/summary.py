"""The answer in words, every figure of it read from the tables in `results/`."""

import re
from pathlib import Path

import pandas as pd

from ..data.dataset import Kind
from .forms import BASELINE
from .statistics import MARGIN

#: Verdicts of a form that loses nothing.
KEPT = {"equivalent", "better"}


def _forms(results: Path) -> pd.DataFrame:
    return pd.read_csv(results / "all-forms.csv").set_index("recipe")


def answer(results: Path, kind: Kind = "image", *, score: str = "accuracy") -> str:
    """Markdown sentences: how much smaller, at what cost, and how sure.

    Args:
        results: the folder with `all-forms.csv`, `claims.csv` and `deployment.csv`.
        kind: of the inputs. score: what accuracy is.
    Raises:
        FileNotFoundError: a table is missing.
    """
    inputs = {"image": "images", "signal": "signals", "table": "rows"}[kind]
    forms, claims = _forms(results), pd.read_csv(results / "claims.csv")
    on_tflm = pd.read_csv(results / "deployment.csv").set_index("recipe").runs_on_tflm
    baseline = forms.loc[BASELINE]
    seeds, tested = int(baseline.seeds), forms[(forms.role == "form") & forms.verdict.notna()]
    lines = [
        f"Test {score} is the mean of {seeds} seed{'s' * (seeds > 1)} on {baseline.test_images:,} {inputs}. "
        "A change is against the float net trained for as long; its 95 % interval takes "
        f"{'seeds and ' * (seeds > 1)}{inputs} as drawn at random, and verdicts are corrected for the "
        f"number of forms, {len(tested)} (Holm).",
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
    for words, rows in ((f"that loses at most {100 * MARGIN:g} pp in validation", kept), ("of all", tested)):
        if len(rows):
            least = rows.sort_values("zip_bytes").iloc[0]
            lines.append(
                f"- **Smallest file {words}:** `{least.name}`, {least.zip_bytes:,.0f} bytes zipped, "
                f"{baseline.zip_bytes / least.zip_bytes:.1f} times fewer than the zipped baseline; in "
                f"flash {least.file_bytes:,.0f}, {baseline.file_bytes / least.file_bytes:.1f} times fewer; "
                f"TFLite Micro {'runs' if on_tflm.get(least.name) else 'does not run'} it. Test: "
                f"{least.change_pp:+.2f} pp [{least.change_ci_low_pp:+.2f}, {least.change_ci_high_pp:+.2f}]: "
                f"{least.verdict}."
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
        f"mnist {len(tested)}: {_told(tested.verdict)}"
    ]
    for words, chosen in (
        ("Worse on a pair, and on none equivalent or better", worse & ~kept),
        ("Equivalent or better on a pair, and on none worse", kept & ~worse),
        ("Both, from pair to pair", worse & kept),
    ):
        lines.append(f"{words}: {', '.join(f'`{name}`' for name in verdicts.index[chosen]) or 'none'}")
    # three seeds leave even a large loss undecided where they differ
    lost = others[(others.verdict == "undecided") & (others.change_pp < -LARGE_PP)]
    lost = lost[lost.recipe.isin(verdicts.index[~worse])].sort_values("change_pp")
    told = ", ".join(f"`{row.recipe}` {row.change_pp:+.1f} ({row.net})" for row in lost.itertuples())
    if told:
        lines.append(
            f"On none worse, but undecided at a mean over {LARGE_PP:g} point lower, which is no pass: {told}"
        )
    spoilt = pairs[(pairs.role == "control") & (pairs.verdict == "worse")]
    told = ", ".join(f"`{row.recipe}` {row.change_pp:+.2f} ({row.net})" for row in spoilt.itertuples())
    if told:
        lines.append(
            f"Further training itself made the float net worse: {told}; what is compared with that net lost "
            "as much more"
        )
    return "".join(f"- {line}.\n" for line in lines).rstrip()


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
        lost = ", ".join(f"`{name}`" for name in forms.name[forms.holds == "no"])
        both = ((forms.verdict_here == "undecided") & (forms.verdict_there == "undecided")).sum()
        lines.append(
            f"Of {len(forms)} verdicts on forms and controls {counts.get('yes', 0)} are the same there, "
            f"{counts.get('no', 0)} not{f' ({lost})' if lost else ''}; {counts.get('open', 0)} cannot be "
            f"compared: {both} are undecided on both test sets, {counts.get('open', 0) - both} on one."
        )
    if len(plans):
        apart = plans[plans.holds == "no"]
        more = (plans.error_pct_there - plans.error_pct_here).round(2)
        most = plans.loc[more.idxmax()]
        lines.append(
            f"The error of the frontier's {len(plans)} nets there is {more.min():+.2f} to {more.max():+.2f} "
            f"points from the one here, higher for {(more > 0).sum()} (most: `{most['name']}`, "
            f"{most.error_pct_here:.2f} % here, {most.error_pct_there:.2f} % there); for {len(apart)} the "
            "95 % interval of the difference leaves out 0."
        )
        if len(apart):
            # where validation images, drawn like those there, say what they say, no choice was at fault
            known = (apart.validation_error_pct_here - apart.error_pct_there).abs().max()
            lines[-1] += (
                " Of these, the validation error here, on images drawn as those there, is at most "
                f"{known:.2f} points from the error there."
            )
    return "\n".join(lines)


def front(frontier: pd.DataFrame) -> str:
    """A sentence: the files of our front, with their test errors.

    Args:
        frontier: `frontier.csv` of the results; its rows with a file make the front.
    """
    files = frontier[frontier.file.notna()].sort_values("bytes")
    points = [f"{row.bytes:,.0f} bytes at {row.error_pct:.2f} %" for row in files.itertuples()]
    return (
        f"Whole coded .tflite files, median bytes and mean test error of {files.seeds.max():.0f} seeds: "
        f"{', '.join(points)}."
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
