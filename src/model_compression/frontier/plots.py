"""The study's pictures, drawn from its CSV files alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence import layers
from ..evidence.plots import label_points, plain_ticks
from ..evidence.style import BLUE, GREEN, GREY, ORANGE, PALETTE
from ..evidence.tables import save_figure, table_figure
from .records import at_equal_error
from .sweep_plots import budget, page, pairs, reach, rotated, sparsity_sweep

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
    with page(7.0) as (figure, (axes,)):
        for counted, (marker, words) in COUNTED.items():
            for _, row in table[table["counted_as"] == counted].iterrows():
                colour = net_colour(row["net"])
                inside = colour if counted in ("measured", "control") else "none"
                look: Any = {"color": colour, "markerfacecolor": inside, "markersize": 6, "zorder": 3}
                axes.plot(row["bytes"], row["error_pct"], marker, **look)
            if (table["counted_as"] == counted).any():
                axes.plot([], [], marker, color="#444444", markerfacecolor="none", label=words)
        for _, row in ours.iterrows():
            axes.plot(row["flash_bytes"], row["error_pct"], ".", color=net_colour(row["net"]), markersize=4)
        if ours["flash_bytes"].notna().any():
            axes.plot(
                [], [], ".", color="#444444", markersize=4, label="ours: the same file in flash, uncoded"
            )
        if len(ours):
            _front(axes, ours)
        for family, colour in NET_COLOURS.items():
            axes.scatter([], [], marker="s", color=colour, label=family.replace("small", "small nets"))
        axes.scatter([], [], marker="s", color=GREY, label="other nets")
        seeds = " or ".join(str(int(count)) for count in sorted(set(ours["seeds"].dropna())))
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="bytes",
            ylabel="test error on MNIST, %",
            title=f"Bytes against error: median bytes, mean error of {seeds or 'no'} seeds, bars of the 95 % "
            "interval over seeds and images",
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


def _front(axes: Axes, ours: pd.DataFrame) -> None:
    """Intervals, and the steps of the front; which points make it is decided on validation error."""
    bars = reach(ours, "error_pct", "error_low_pct", "error_high_pct")
    look: Any = {"fmt": "none", "ecolor": "#999999", "capsize": 2, "zorder": 2}
    axes.errorbar(ours["bytes"], ours["error_pct"], yerr=bars, **look)
    front = ours[ours["file"].notna()].sort_values("bytes")
    line: Any = {"where": "post", "color": "#555555", "linewidth": 1.0, "alpha": 0.6, "zorder": 2}
    axes.step(front["bytes"], front["error_pct"], label="our Pareto front", **line)


def _short(net: str, method: str) -> str:
    return method if net in NET_COLOURS or not net.startswith("small_") else f"{net}, {method}"


def literature(table: pd.DataFrame) -> Figure:
    """The published figures of each net and ours, as a table.

    Args:
        table: what `tables.literature` gives.
    """
    ours = table["ours"].astype(bool)
    taught = (table["teachers"].astype(object).fillna("") != "").map({True: "taught", False: "labels"})
    view = pd.DataFrame(
        {
            "net": table["net"],
            "method": table["method"].where(~ours, "ours: " + table["method"]),
            "error %": _text(table["error_pct"], "{:.2f}", "–")
            + _text(table["error_low_pct"], " [{:.2f}, ")
            + _text(table["error_high_pct"], "{:.2f}]"),
            "bytes": _text(table["bytes"], "{:,.0f}"),
            "times smaller": _text(table["ratio"], "{:.0f}", "–"),
            "counted as": table["counted_as"],
            # the sources of the others are not asked
            "augmented, taught": (_text(table["augmentation"], "{:g}, ") + taught).where(ours, ""),
            "on its net": _text(table["same_net"], "{}"),
            "by any net": _text(table["any_net"], "{}"),
            "counted alike": _text(table["like_any_net"], "{}"),
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


def _text(column: pd.Series, form: str, missing: str = "") -> pd.Series:
    """Values as words, also where a table read from the disk has nothing in the column."""
    return column.astype(object).map(form.format, na_action="ignore").fillna(missing)


def anatomy(table: pd.DataFrame) -> Figure:
    """Where the bytes of our coded files go: the graph, then the weights and biases, beside their entropy.

    Args:
        table: with the columns of `tables.COLUMNS`.
    """
    ours = table[table["counted_as"] == "measured"].dropna(subset="graph_bytes")
    rows = ours.sort_values("bytes", ascending=False)
    size, graph = rows["bytes"].to_numpy(float), rows["graph_bytes"].to_numpy(float)
    entropy, places = graph + rows["entropy_bytes"].to_numpy(float), np.arange(len(rows))
    with page(1.6 + 0.45 * len(rows)) as (figure, (axes,)):
        axes.barh(places, graph, color=ORANGE, label="the graph: the file with every constant zero")
        axes.barh(places, size - graph, left=graph, color=BLUE, label="weights and biases, coded")
        look: Any = {"marker": "|", "s": 250, "color": "black", "zorder": 3}
        axes.scatter(entropy, places, **look, label="order-0 entropy of the weights")
        for place, end, bytes_ in zip(places, np.maximum(size, entropy), size, strict=True):
            axes.text(end, float(place), f"  {bytes_:,.0f}", va="center", fontsize=8)
        axes.set_yticks(places, [f"{row.net}\n{row.method}" for row in rows.itertuples()], fontsize=8)
        axes.set(xlabel="bytes of the coded file")
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    return figure


def ideas(records: pd.DataFrame) -> Figure:
    """What each idea gave: bytes at the validation error of the plans that stand, trial by trial.

    Args:
        records: with the columns of `records.COLUMNS`.
    """
    rows = at_equal_error(records)
    with page(1.4 + 0.3 * max(len(rows), 1)) as (figure, (axes,)):
        for colour, (idea, bars) in zip(PALETTE, rows.groupby("idea", sort=False), strict=False):
            axes.barh(bars.index, 100 * (bars["share"] - 1), color=colour, label=idea)
        for place, row in enumerate(rows.itertuples()):
            words = f"  {row.coded_bytes:,.0f} B, {row.validation_error_pct:.2f} %  "
            side = "left" if row.share > 1 else "right"
            axes.text(100 * (row.share - 1), place, words, va="center", ha=side, fontsize=7)
        axes.axvline(0, color="black", linewidth=0.8)
        names = [f"{row.net}, {row.method}" for row in rows.itertuples()]
        axes.set_yticks(range(len(rows)), names, fontsize=7)
        axes.set(
            xlabel="bytes, % against the plans that stand at the same validation error, trained alike",
            title="What each idea gave",
        )
        axes.margins(x=0.35)
        if len(rows):
            axes.legend(fontsize=7)
    return figure


#: Each picture with the table that it is drawn from.
PICTURES = {
    "bits-a-layer-resnet_8": ("bits-a-layer-resnet_8", layers.bits_figure),
    "frontier": ("frontier", frontier),
    "frontier-bytes": ("frontier", anatomy),
    "frontier-records": ("frontier-records", ideas),
    "literature": ("literature", literature),
    "pairs": ("pairs", pairs),
    "pruning-budget": ("pruning-budget", budget),
    "rotated": ("rotated", rotated),
    "sensitivity-resnet_8": ("sensitivity-resnet_8", layers.picture),
    "sparsity-sweep": ("sparsity-sweep", sparsity_sweep),
}


def picture(name: str, results: Path) -> Figure | None:
    """One of `PICTURES`, drawn from the CSV in `results`; None where that is not there yet."""
    table, drawn = PICTURES[name]
    path = results / f"{table}.csv"
    return drawn(pd.read_csv(path)) if path.exists() else None


def draw(results: Path) -> None:
    """Every picture whose CSV lies in `results`, beside it."""
    for name in PICTURES:
        if figure := picture(name, results):
            save_figure(figure, results / f"{name}.png")
