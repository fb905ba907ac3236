"""The studies' pictures, drawn from their CSV files alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..evidence import layers
from ..evidence.placing import label_points, plain_ticks
from ..evidence.style import BELOW, BLUE, GREEN, GREY, ORANGE, page, reach
from ..evidence.tables import interval, save_figure, table_figure
from . import sweep, transfer
from .records import at_equal_error

#: How a figure was counted -> marker and words.
COUNTED = {
    "measured": ("o", "ours: a whole coded .tflite file"),
    "control": ("D", "ours: the dense net, trained and taught alike"),
    "file": ("s", "published: bytes of a decodable file"),
    "payload": ("P", "published: coded weights, the graph known"),
    "flash": ("v", "published: weights in flash (BitNetMCU)"),
    "estimate": ("^", "published: values, codebook, indices added up"),
    "parameters": ("x", "published: dense bytes / ratio of parameters"),
    "program": ("*", "published: a compressed program"),
}
#: Colour by family of nets.
NET_COLOURS = {"baseline": BLUE, "lenet_300_100": ORANGE, "lenet_5": GREEN, "small": "#7b3294"}


def net_colour(net: str) -> str:
    """The colour of a net's family; grey for nets of others."""
    return NET_COLOURS.get("small" if net.startswith("small_") else net, GREY)


def frontier(table: pd.DataFrame) -> Figure:
    """Error against bytes, both on log axes: our Pareto front over the published points.

    Args:
        table: with the columns of `tables.COLUMNS`.
    """
    ours = table[table["counted_as"] == "measured"]
    # dense nets may be a hundred times as large: they would press all others together
    files = table.loc[table["counted_as"] != "control", "bytes"].astype(float)
    end = 2.5 * files.max()
    seeds = " or ".join(str(int(count)) for count in sorted(set(ours["seeds"].dropna()))) or "no"
    with page(8.5) as (figure, (axes,)):
        for counted, (marker, words) in COUNTED.items():
            rows = table[table["counted_as"] == counted]
            for row in rows.itertuples():
                colour = net_colour(row.net)
                inside = colour if counted in ("measured", "control") else "none"
                look: Any = {"color": colour, "markerfacecolor": inside, "markersize": 6, "zorder": 3}
                axes.plot(row.bytes, row.error_pct, marker, **look)
            beyond = int((rows["bytes"] > end).sum())
            words += f" ({beyond} further right)" if beyond else ""
            if len(rows):
                axes.plot([], [], marker, color="#444444", markerfacecolor="none", label=words)
        if len(ours):
            beyond = int((ours["flash_bytes"] > end).sum())
            words = "ours: the same file in flash, uncoded" + f" ({beyond} further right)" * bool(beyond)
            colours = [net_colour(net) for net in ours["net"]]
            axes.scatter(ours["flash_bytes"], ours["error_pct"], s=4, c=colours, label=words)
            bars = reach(ours, "error_pct", "error_low_pct", "error_high_pct")
            look = {"fmt": "none", "ecolor": "#999999", "capsize": 2, "zorder": 2}
            axes.errorbar(ours["bytes"], ours["error_pct"], yerr=bars, **look)
            # which points make it is decided on validation error
            front = ours[ours["file"].notna()].sort_values("bytes")
            line: Any = {"where": "post", "color": "#555555", "linewidth": 1.0, "alpha": 0.6, "zorder": 2}
            axes.step(front["bytes"], front["error_pct"], label="our front, by validation error", **line)
        for family, colour in [*NET_COLOURS.items(), ("other nets", GREY)]:
            axes.scatter([], [], marker="s", color=colour, label=family.replace("small", "small nets"))
        title = f"Bytes against error: median bytes, mean error of {seeds} seeds, bars of the 95 % interval "
        title += "over seeds and images"
        axes.set(xscale="log", yscale="log", xlabel="bytes", ylabel="test error on MNIST, %", title=title)
        axes.set_xlim(files.min() / 1.3, end)  # with room for the names on the right
        plain_ticks(axes)
        axes.legend(**BELOW, ncols=3)
        figure.tight_layout()
        # of our front the bytes tell more than the plan; those in flash are all of one source
        named = table[~table["counted_as"].isin(["control", "flash"])]
        bytes_ = named["bytes"].astype(float).map("{:,.0f} bytes".format)
        names = named["method"].where(named["file"].isna(), bytes_)
        label_points(axes, named["bytes"], named["error_pct"], list(names))
    return figure


#: What is shown of the table of published figures.
LITERATURE = [
    "net", "method", "error_interval", "bytes", "ratio", "counted_as", "trained", "same_net", "any_net",
    "like_any_net",
]  # fmt: skip
NOTE = (
    "file, measured: bytes of a decodable file. payload: coded weights, the graph known. flash: weights "
    "where a device\nruns them. estimate: values, codebook and indices added up. parameters: dense bytes "
    "/ stated ratio of parameters.\nprogram: compressed, with its weights. Ours are whole .tflite files: "
    "median bytes, mean error with its 95 % interval\nover seeds and images; control: the dense net, trained "
    "alike. augmented: how far images are moved about in training, of\nthe usual 1. taught: by larger nets. "
    "times smaller: than the net's weights as floats. A point is passed where all of\nthe interval of a file "
    "of ours of no more bytes lies below it."
)


def literature(table: pd.DataFrame) -> Figure:
    """The published figures of each net and ours, as a table.

    Args:
        table: what `tables.literature` gives.
    """
    ours = table["ours"].astype(bool)
    taught = table["teachers"].astype(object).fillna("").ne("").map({True: "taught", False: "labels"})
    augmented = table["augmentation"].astype(float).map("{:g}, ".format)
    errors = table[["error_pct", "error_low_pct", "error_high_pct"]].astype(float)
    view = table.assign(
        method=table["method"].where(~ours, "ours: " + table["method"]),
        error_interval=[interval(*row) for row in errors.to_numpy()],
        # the sources of the others are not asked
        trained=(augmented + taught).where(ours, ""),
    )
    met = ["same_net", "any_net", "like_any_net"]
    view[met] = view[met].astype(object).fillna("")
    return table_figure(view[LITERATURE], "MNIST: published figures and ours", note=NOTE)


def anatomy(table: pd.DataFrame) -> Figure:
    """Where the bytes of our coded files go: the graph, then the weights and biases, beside their entropy.

    Args:
        table: with the columns of `tables.COLUMNS`.
    """
    rows = table[table["counted_as"] == "measured"].dropna(subset="graph_bytes")
    rows = rows.sort_values("bytes", ascending=False).astype({"bytes": float, "graph_bytes": float})
    size, graph, places = rows["bytes"], rows["graph_bytes"], np.arange(len(rows))
    entropy = graph + rows["entropy_bytes"].astype(float)
    with page(1.6 + 0.45 * len(rows)) as (figure, (axes,)):
        axes.barh(places, graph, color=ORANGE, label="the graph: the file with every constant zero")
        axes.barh(places, size - graph, left=graph, color=BLUE, label="weights and biases, coded")
        look: Any = {"marker": "|", "s": 250, "color": "black", "zorder": 3}
        axes.scatter(entropy, places, **look, label="order-0 entropy of the weights")
        for place, end, bytes_ in zip(places, np.maximum(size, entropy), size, strict=True):
            axes.text(end, float(place), f"  {bytes_:,.0f}", va="center", fontsize=8)
        axes.set_yticks(places, rows["net"] + "\n" + rows["method"], fontsize=8)
        axes.set(xlabel="bytes of the coded file", title="Where the bytes of our coded files are")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0.15, y=0.01)
        axes.set_xlim(left=0)
        axes.legend(**BELOW, ncols=3)
    return figure


def ideas(records: pd.DataFrame) -> Figure | None:
    """What each idea gave: bytes at the validation error of the plans that stand, trial by trial.

    None before there are trials to compare.
    Args:
        records: with the columns of `records.COLUMNS`.
    """
    rows = at_equal_error(records)
    if rows.empty:
        return None
    rows = rows.sort_values("share", ascending=False, ignore_index=True)
    with page(1.4 + 0.36 * len(rows)) as (figure, (axes,)):
        colours = [BLUE if share < 1 else GREY for share in rows["share"]]
        hatches = ["//" if beyond else "" for beyond in rows["beyond"]]
        axes.barh(rows.index, rows["share"] - 1, left=1, color=colours, hatch=hatches, edgecolor="white")
        for place, row in enumerate(rows.itertuples()):
            words = f"  {row.coded_bytes:,.0f} B, {row.validation_error_pct:.2f} %  "
            side = "left" if row.share > 1 else "right"
            axes.text(row.share, place, words, va="center", ha=side, fontsize=7)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(
            rows.index,
            rows["idea"] + "\n" + rows["net"].str.removeprefix("small_") + ", " + rows["method"],
            fontsize=7,
        )
        words = (
            "bytes, times those that the reference needs for the same validation error: a line through the\n"
            f"{rows['references'][0]} trials of {rows['reference'][0]}, trained alike. Hatched: beyond their "
            "errors. One seed each, so no intervals"
        )
        axes.set(xscale="log", xlabel=words, title="What each idea gave: blue bars save bytes")
        axes.set_xlim(rows["share"].min() / 1.6, rows["share"].max() * 1.6)
        plain_ticks(axes)
    return figure


#: Each picture with the table that it is drawn from.
PICTURES: dict[str, tuple[str, Callable[[pd.DataFrame], Figure | None]]] = {
    "bits-a-layer-resnet_8": ("bits-a-layer-resnet_8", layers.bits_figure),
    "frontier": ("frontier", frontier),
    "frontier-bytes": ("frontier", anatomy),
    "frontier-records": ("frontier-records", ideas),
    "literature": ("literature", literature),
    "pairs": ("pairs", transfer.pairs),
    "pruning-budget": ("pruning-budget", sweep.budget),
    "rotated": ("rotated", transfer.rotated),
    "sensitivity-resnet_8": ("sensitivity-resnet_8", layers.picture),
    "sparsity-sweep": ("sparsity-sweep", sweep.sparsity_sweep),
}


def draw(results: Path) -> None:
    """Every picture whose CSV lies in `results`, beside it."""
    for name, (table, drawn) in PICTURES.items():
        path = results / f"{table}.csv"
        if path.exists() and (figure := drawn(pd.read_csv(path))):
            save_figure(figure, results / f"{name}.png")
