"""The study's pictures, drawn from its CSV files alone."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence.plots import BLUE, GREEN, GREY, ORANGE, label_points, plain_ticks
from ..evidence.tables import STYLE, WIDTH, save_figure, table_figure
from .ideas import at_equal_error
from .sweep_plots import COLOURS, budget, sparsity_sweep

#: How a figure was counted -> marker and words.
COUNTED = {
    "measured": ("o", "ours: a whole coded .tflite file"),
    "control": ("D", "ours: the dense net, trained and taught alike"),
    "file": ("s", "published: bytes of a decodable file"),
    "payload": ("P", "published: coded weights, the graph known"),
    "flash": ("v", "published: weights in flash"),
    "estimate": ("^", "published: values, codebook, indices added up"),
    "parameters": ("x", "published: dense bytes / ratio of parameters"),
    "program": ("*", "published: a compressed program"),
}
#: Colour by family of nets.
NET_COLOURS = {"baseline": BLUE, "lenet_300_100": ORANGE, "lenet_5": GREEN, "small": "#7b3294"}


def net_colour(net: str) -> str:
    """The colour of a net's family; grey for nets of others."""
    return NET_COLOURS.get(net, NET_COLOURS["small"] if net.startswith("small_") else GREY)


def frontier(table: pd.DataFrame) -> Figure:
    """Error against bytes, both on log axes: our Pareto front over the published points.

    Args:
        table: with the columns of `tables.COLUMNS`.
    """
    ours = table[table["counted_as"] == "measured"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 7.0))
        axes = figure.subplots()
        for counted, (marker, words) in COUNTED.items():
            for _, row in table[table["counted_as"] == counted].iterrows():
                _mark(axes, row["bytes"], row["error_pct"], counted, net_colour(row["net"]))
            axes.plot([], [], marker, color="#444444", markerfacecolor="none", label=words)
        for _, row in ours.iterrows():
            axes.plot(row["flash_bytes"], row["error_pct"], ".", color=net_colour(row["net"]), markersize=4)
        axes.plot([], [], ".", color="#444444", markersize=4, label="ours: the same file in flash, uncoded")
        if len(ours):
            _front(axes, ours)
        for family, colour in NET_COLOURS.items():
            axes.scatter([], [], marker="s", color=colour, label=family.replace("small", "small nets"))
        axes.scatter([], [], marker="s", color=GREY, label="other nets")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="bytes",
            ylabel="test error on MNIST, %",
            title=f"Bytes against error: {_seeds(ours)}bars of the 95 % interval over seeds and images",
        )
        plain_ticks(axes)
        named = table[table["counted_as"] != "control"]
        names = [_short(net, method) for net, method in zip(named["net"], named["method"], strict=True)]
        low, high = axes.get_xlim()
        axes.set_xlim(low, 1.7 * high)  # room for the names on the right
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3)
        figure.tight_layout()
        label_points(axes, named["bytes"], named["error_pct"], names)
    return figure


def _seeds(ours: pd.DataFrame) -> str:
    counts = sorted({int(count) for count in ours["seeds"].dropna()})
    return f"median bytes, mean error of {' or '.join(map(str, counts))} seeds, " if counts else ""


def _mark(axes: Axes, size: float, error: float, counted: str, colour: str) -> None:
    """One point, filled where it is ours."""
    inside = colour if counted in ("measured", "control") else "none"
    axes.plot(size, error, COUNTED[counted][0], color=colour, markerfacecolor=inside, markersize=6, zorder=3)


def _front(axes: Axes, ours: pd.DataFrame) -> None:
    """Intervals, and the steps of the front; which points make it is decided on validation error."""
    error = ours["error_pct"].to_numpy(float)
    reach = [error - ours["error_low_pct"].to_numpy(float), ours["error_high_pct"].to_numpy(float) - error]
    axes.errorbar(ours["bytes"], error, yerr=reach, fmt="none", ecolor="#999999", capsize=2, zorder=2)
    front = ours[ours["file"].notna()].sort_values("bytes")
    axes.step(
        front["bytes"],
        front["error_pct"],
        where="post",
        color="#555555",
        linewidth=1.0,
        alpha=0.6,
        label="our Pareto front",
        zorder=2,
    )


def _short(net: str, method: str) -> str:
    return method if net in NET_COLOURS or not net.startswith("small_") else f"{net}, {method}"


def literature(table: pd.DataFrame) -> Figure:
    """The published figures of each net and ours, as a table.

    Args:
        table: what `tables.literature` gives.
    """
    ours = table["ours"].astype(bool)
    view = pd.DataFrame(
        {
            "net": table["net"],
            "method": table["method"].where(~ours, "ours: " + table["method"]),
            "error %": [_error(row) for row in table.itertuples()],
            "bytes": [_number(value, "{:,.0f}") for value in table["bytes"]],
            "times smaller": [_number(value, "{:.0f}") for value in table["ratio"]],
            "counted as": table["counted_as"],
            "augmented, taught": [_training(row) for row in table.itertuples()],
            "on its net": _words(table["same_net"]),
            "by any net": _words(table["any_net"]),
            "counted alike": _words(table["like_any_net"]),
        }
    )
    note = (
        "file, measured: bytes of a decodable file. payload: coded weights, the graph known. flash: weights "
        "where a device\nruns them. estimate: values, codebook and indices added up. parameters: dense bytes "
        "/ stated ratio of parameters.\nprogram: compressed, with its weights. Ours are whole .tflite files: "
        "median bytes, mean error with its 95 % interval\nover seeds and images. A point is passed where all "
        "of the interval of a file of ours of no more bytes lies below it."
    )
    return table_figure(view, "MNIST: published figures and ours", note=note)


def _words(column: pd.Series) -> pd.Series:
    """Empty where there is nothing, also where a table read from the disk has nothing but that."""
    return column.astype(object).where(column.notna(), "")


def _error(row: Any) -> str:
    if pd.isna(row.error_low_pct):
        return _number(row.error_pct, "{:.2f}")
    return f"{row.error_pct:.2f} [{row.error_low_pct:.2f}, {row.error_high_pct:.2f}]"


def _training(row: Any) -> str:
    """How a net of ours was trained; the sources of the others are not asked."""
    if not row.ours:
        return ""
    return f"{row.augmentation:g}, {'taught' if isinstance(row.teachers, str) and row.teachers else 'labels'}"


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else form.format(value)


def anatomy(table: pd.DataFrame) -> Figure:
    """Where the bytes of each coded file go: the graph, then the weights and biases, beside their entropy.

    Args:
        table: rows as `frontier.anatomy` gives them.
    """
    rows = table.sort_values("bytes", ascending=False)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.6 + 0.45 * len(rows)))
        axes = figure.subplots()
        places, graph, size = np.arange(len(rows)), rows["graph_bytes"].to_numpy(), rows["bytes"].to_numpy()
        axes.barh(places, graph, color=ORANGE, label="the graph: the file with every constant zero")
        axes.barh(places, size - graph, left=graph, color=BLUE, label="weights and biases, coded")
        axes.scatter(
            graph + rows["entropy_bytes"],
            places,
            marker="|",
            s=250,
            color="black",
            zorder=3,
            label="order-0 entropy of the weights",
        )
        furthest = np.maximum(size, graph + rows["entropy_bytes"].to_numpy())
        for place, end, row in zip(places, furthest, rows.itertuples(), strict=True):
            axes.text(float(end), float(place), f"  {row.bytes:,}", va="center", fontsize=8)
        axes.set_yticks(places, [f"{row.net}\n{row.method}" for row in rows.itertuples()], fontsize=8)
        axes.set(xlabel="bytes of the coded file", xlim=(0, 1.15 * float(furthest.max())))
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        figure.tight_layout()
    return figure


def ideas(records: pd.DataFrame) -> Figure:
    """What each idea gave: bytes at the validation error of the plans that stand, trial by trial.

    Args:
        records: with the columns of `records.COLUMNS`.
    """
    rows = at_equal_error(records)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 + 0.3 * max(len(rows), 1)))
        axes = figure.subplots()
        colours = dict(zip(dict.fromkeys(rows["idea"]), COLOURS * len(rows), strict=False))
        for idea, colour in colours.items():
            bars = rows[rows["idea"] == idea]
            axes.barh(bars.index, 100 * (bars["share"] - 1), color=colour, label=idea)
        for place, row in enumerate(rows.itertuples()):
            words = f"  {row.coded_bytes:,.0f} B, {row.validation_error_pct:.2f} %  "
            side = "left" if row.share > 1 else "right"
            axes.text(100 * (row.share - 1), place, words, va="center", ha=side, fontsize=7)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(
            range(len(rows)), [f"{row.net}, {row.method}" for row in rows.itertuples()], fontsize=7
        )
        axes.set(
            xlabel="bytes, % against the plans that stand at the same validation error, trained alike",
            title="What each idea gave",
        )
        axes.margins(x=0.35)
        if len(rows):
            axes.legend(fontsize=7)
        figure.tight_layout()
    return figure


#: Each picture by the CSV that it is drawn from.
PICTURES = {
    "frontier": frontier,
    "frontier-bytes": anatomy,
    "frontier-records": ideas,
    "literature": literature,
    "pruning-budget": budget,
    "sparsity-sweep": sparsity_sweep,
}


def draw(results: Path) -> None:
    """Every picture whose CSV lies in `results`, beside it."""
    for name, picture in PICTURES.items():
        path = results / f"{name}.csv"
        if path.exists():
            save_figure(picture(pd.read_csv(path)), path.with_suffix(".png"))
