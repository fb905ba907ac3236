"""The answer in words, every figure of it read from the tables in `results/`."""

import re
from pathlib import Path

import pandas as pd

BLOCK = re.compile(r"(<!-- answer -->\n).*?(<!-- /answer -->)", flags=re.DOTALL)


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


def fill(text: str, block: str) -> str:
    """`text` with what stands between its answer marks replaced.

    Raises:
        ValueError: there are no marks.
    """
    if not BLOCK.search(text):
        raise ValueError("no answer marks: <!-- answer --> and <!-- /answer --> on lines of their own")
    return BLOCK.sub(lambda match: match[1] + block + "\n" + match[2], text)
