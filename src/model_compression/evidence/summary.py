"""The answer in words, every figure of it read from the tables in `results/`."""

import re
from pathlib import Path

import pandas as pd

#: Rows of the big table that stand for a conclusion each, in the words of the comparison of two datasets.
CONCLUSIONS = {
    "int8": "int8, against float32",
    "int4_mixed": "4-bit dense kernels, against float32",
    "quantization_aware_int4": "4-bit QAT, against equal training",
    "pruned_quantized": "pruned and int8, against equal training",
    "pruned_2_by_4": "2:4 pruned, against equal training",
    "clustered_16": "16 clusters, against equal training",
    "rate_distortion": "rate-distortion training, against equal training",
    "random_pruned": "pruned at random, against equal training",
    "pruned_from_scratch": "pruned net trained from scratch, against equal training",
    "small_dense": "small dense net of the same bytes, against equal training",
}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _change(row: "pd.Series[float]") -> str:
    interval = f"[{row.change_ci_low_pp:+.2f}, {row.change_ci_high_pp:+.2f}]"
    return f"{row.change_pp:+.2f} pp {interval}, p = {row.mcnemar_p:.2g}: {row.verdict}"


def answer(results: Path) -> str:
    """Markdown sentences: how much smaller, at what cost, and how sure.

    Args:
        results: the folder with `all-forms.csv` and `claims.csv`.
    Raises:
        FileNotFoundError: a table is missing.
    """
    forms = pd.read_csv(results / "all-forms.csv").set_index("recipe")
    claims = pd.read_csv(results / "claims.csv")
    baseline, int8, pruned = forms.loc["non_quantized"], forms.loc["int8"], forms.loc["pruned_quantized"]
    seeds = int(baseline.seeds)
    both = forms.loc["sparsity_cluster_preserving_qat"]
    naive, fair, qat = claims.iloc[2], claims.iloc[3], claims.iloc[4]
    lines = [
        f"Test accuracy is the mean of {seeds} seed{'s' * (seeds > 1)} on 10,000 images; a change is against "
        "the float net trained for as long, with its 95 % interval and McNemar's p.",
        "",
        f"- **Baseline:** {baseline.file_bytes:,.0f} bytes as float32 .tflite, "
        f"{_percent(baseline.accuracy_mean)}.",
        f"- **Quantized to int8:** {int8.file_bytes:,.0f} bytes, "
        f"{baseline.file_bytes / int8.file_bytes:.2f} times smaller. {_change(int8)}.",
        f"- **Pruned, then int8:** the file is as large as before ({pruned.file_bytes:,.0f} bytes); zipped "
        f"it has {pruned.zip_bytes:,.0f} instead of {int8.zip_bytes:,.0f}. {_change(pruned)}.",
        f"- **Pruned, clustered and quantization-aware (PCQAT):** {both.zip_bytes:,.0f} bytes zipped, "
        f"{baseline.zip_bytes / both.zip_bytes:.1f} times fewer than the zipped baseline. {_change(both)}.",
        "- **Does pruning improve accuracy?** Beside the baseline it seems to change it by "
        f"{naive.estimate:+.2f} pp; beside a net trained for as long, by {fair.estimate:+.2f} pp "
        f"[{fair.low:+.2f}, {fair.high:+.2f}].",
        f"- **Does quantization-aware training matter here?** {qat.estimate:+.2f} pp "
        f"[{qat.low:+.2f}, {qat.high:+.2f}] beside quantizing a net trained for as long "
        f"(p = {qat.p_value:.2g}).",
    ]
    good = forms[(forms.accuracy_mean >= 0.98) & (forms.role == "form")]
    if len(good):
        best = good.sort_values("zip_bytes").iloc[0]
        lines.append(
            f"- **Smallest file at 98 % or better:** `{best.name}`, {best.zip_bytes:,.0f} bytes zipped, "
            f"{_percent(best.accuracy_mean)}."
        )
    return "\n".join(lines)


def compared(first: Path, second: Path, names: tuple[str, str]) -> str:
    """Markdown: which conclusions of one dataset hold on another, in a sentence and a table.

    A conclusion holds where both say worse, both better, or both that no difference is shown.

    Args:
        first, second: folders with `all-forms.csv` and `claims.csv`. names: of the datasets.
    """
    one, other = _conclusions(first), _conclusions(second)
    both = one.join(other.add_suffix("_there"), how="inner")
    tried = both[both.verdict != ""]
    holds = tried.verdict == tried.verdict_there
    said = f"{holds.sum()} of {len(tried)} conclusions hold on {names[1]} as on {names[0]}"
    if not holds.all():
        said += f"; otherwise: {'; '.join(tried.index[~holds])}"
    words = holds.map({True: "yes", False: "**no**"}).reindex(both.index, fill_value="")
    lines = [said + ".", "", f"| | {names[0]} | {names[1]} | holds |", "|---|---|---|---|"]
    lines += [
        f"| {row.Index} | {row.shown} | {row.shown_there} | {words[row.Index]} |" for row in both.itertuples()
    ]
    return "\n".join(lines)


def _conclusions(results: Path) -> pd.DataFrame:
    """Columns `shown` and `verdict`, by conclusion: the baselines, the claims, then single forms."""
    forms = pd.read_csv(results / "all-forms.csv").set_index("recipe")
    found = {"test accuracy of the baseline": (_percent(forms.loc["non_quantized"].accuracy_mean), "")}
    for row in pd.read_csv(results / "claims.csv").itertuples():
        times = row.unit == "times smaller"
        neutral, verdict = (1.0 if times else 0.0), "no difference shown"
        if row.p_value < 0.05 and not row.low <= neutral <= row.high:
            verdict = "more" if row.low > neutral else "less"
        unit, sign = ("times", "") if times else ("pp", "+")
        interval = f"{row.estimate:{sign}.2f} {unit} [{row.low:{sign}.2f}, {row.high:{sign}.2f}]"
        found[f"{row.claim} ({row.measured})"] = (interval, verdict)
    for name, conclusion in CONCLUSIONS.items():
        if name in forms.index:
            row = forms.loc[name]
            interval = f"{row.change_pp:+.2f} pp [{row.change_ci_low_pp:+.2f}, {row.change_ci_high_pp:+.2f}]"
            found[conclusion] = (f"{interval}: {row.verdict}", row.verdict)
    return pd.DataFrame.from_dict(found, orient="index", columns=["shown", "verdict"])


def fill(text: str, block: str, name: str = "answer") -> str:
    """`text` with what stands between the marks `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: there are no marks.
    """
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"no {name} marks: <!-- {name} --> and <!-- /{name} --> on lines of their own")
    return marks.sub(lambda match: match[1] + block + "\n" + match[2], text)
