"""The study's pictures, drawn from its CSV files alone."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence.plots import BLUE, GREEN, GREY, ORANGE, label_points, pareto, plain_ticks
from ..evidence.tables import STYLE, WIDTH, save_figure, table_figure

#: How a figure was counted -> marker and words.
COUNTED = {
    "measured": ("o", "ours: a whole coded .tflite file"),
    "file": ("s", "published: bytes of a decodable file"),
    "estimate": ("^", "published: values, codebook, indices added up"),
    "parameters": ("x", "published: dense bytes / ratio of parameters"),
}
#: Colour by family of nets.
NET_COLOURS = {"baseline": BLUE, "lenet_300_100": ORANGE, "lenet_5": GREEN, "small": "#7b3294"}
#: Colours of the sweep's lines, in the order of the strategies or schedules.
LINES = (BLUE, ORANGE, GREEN, "#7b3294", "#b8860b", "#c2185b")


def net_colour(net: str) -> str:
    """The colour of a net's family; grey for nets of others."""
    return NET_COLOURS.get(net, NET_COLOURS["small"] if net.startswith("small_") else GREY)


def frontier(table: pd.DataFrame) -> Figure:
    """Error against bytes, both on log axes: our Pareto front over the published points.

    Args:
        table: with the columns of `frontier.COLUMNS`.
    """
    ours = table[table["counted_as"] == "measured"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 7.0))
        axes = figure.subplots()
        for counted, (marker, words) in COUNTED.items():
            for _, row in table[table["counted_as"] == counted].iterrows():
                _mark(axes, row["bytes"], row["error_pct"], counted, net_colour(row["net"]))
            axes.plot([], [], marker, color="#444444", markerfacecolor="none", label=words)
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
            title=f"Bytes against error: {_seeds(ours)}bars of one sample standard deviation",
        )
        plain_ticks(axes)
        names = [_short(net, method) for net, method in zip(table["net"], table["method"], strict=True)]
        low, high = axes.get_xlim()
        axes.set_xlim(low, 1.7 * high)  # room for the names on the right
        label_points(axes, table["bytes"], table["error_pct"], names)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=4)
        figure.tight_layout()
    return figure


def _seeds(ours: pd.DataFrame) -> str:
    counts = sorted({int(count) for count in ours["seeds"].dropna()})
    return f"means of {' or '.join(map(str, counts))} seeds, " if counts else ""


def _mark(axes: Axes, size: float, error: float, counted: str, colour: str) -> None:
    """One point, filled where it is ours."""
    inside = colour if counted == "measured" else "none"
    axes.plot(size, error, COUNTED[counted][0], color=colour, markerfacecolor=inside, markersize=6, zorder=3)


def _front(axes: Axes, ours: pd.DataFrame) -> None:
    axes.errorbar(
        ours["bytes"],
        ours["error_pct"],
        yerr=ours["error_sd_pct"].astype(float).fillna(0),
        fmt="none",
        ecolor="#999999",
        capsize=2,
        zorder=2,
    )
    front = ours[pareto(ours["bytes"], ours["error_pct"])].sort_values("bytes")
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
        table: what `frontier.literature` gives.
    """
    view = pd.DataFrame(
        {
            "net": table["net"],
            "method": table["method"].where(~table["ours"].astype(bool), "ours: " + table["method"]),
            "error %": [_number(value, "{:.2f}") for value in table["error_pct"]],
            "bytes": [_number(value, "{:,.0f}") for value in table["bytes"]],
            "times smaller": [_number(value, "{:.0f}") for value in table["ratio"]],
            "counted as": table["counted_as"],
            "source": table["source"],
        }
    )
    note = (
        "file, measured: bytes of a decodable file. estimate: values, codebook and indices added up.\n"
        "parameters: dense bytes / stated ratio of parameters. Only figures of one kind compare;\n"
        "ours are whole .tflite files, their graph included."
    )
    return table_figure(view, "MNIST: published figures and ours", note=note)


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else form.format(value)


def sparsity_sweep(table: pd.DataFrame) -> Figure:
    """Error against sparsity, by strategy and by schedule; bands of one sample standard deviation.

    Both panels hold the random masks and the dense control, trained for as long.
    Args:
        table: what `sweep.table` gives.
    """
    polynomial = table["schedule"] == "polynomial 3"
    masks, dense = table[table["strategy"] == "random_mask"], table[table["strategy"] == "dense"]
    common = table[~polynomial & ~table["strategy"].isin(["random_mask", "dense"])]["strategy"]
    of_common = table["strategy"].isin(set(common))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.4))
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("Strategies, polynomial schedule", f"Schedules, strategy {', '.join(sorted(set(common)))}")
        groups = ((table[polynomial], "strategy"), (table[of_common], "schedule"))
        for axes, title, (rows, by) in zip(panels, titles, groups, strict=True):
            for colour, (name, line) in zip(LINES, rows.groupby(by, sort=False), strict=False):
                _band(axes, line, colour, str(name).replace("_", " "))
            _band(axes, masks, GREY, "random masks", style="--")
            for _, control in dense.iterrows():
                axes.axhline(control["error_pct"], color="black", linewidth=1, label="dense, trained as long")
                spread = control["error_sd_pct"] if not pd.isna(control["error_sd_pct"]) else 0.0
                axes.axhspan(
                    control["error_pct"] - spread, control["error_pct"] + spread, color="black", alpha=0.12
                )
            axes.set(xlabel="sparsity of the kernels, %", title=title, yscale="log", xscale="log")
            axes.set_xticks(*_sparsity_ticks(table))
            axes.minorticks_off()
            axes.invert_xaxis()
            axes.legend(fontsize=7)
        # a band may reach below 0, which a log axis cannot show
        panels[0].set_ylim(bottom=0.7 * float(table["error_pct"].min()))
        panels[0].set_ylabel("test error, %")
        panels[0].yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        panels[0].yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.5g}"))
        figure.tight_layout()
    return figure


def _sparsity_ticks(table: pd.DataFrame) -> tuple[list[float], list[str]]:
    """Places on the axis of what is left, and their names in sparsity."""
    found = sorted(share for share in set(table["sparsity"]) if share > 0)
    return [1 - share for share in found], [f"{100 * share:g}" for share in found]


def _band(axes: Axes, rows: pd.DataFrame, colour: str, name: str, *, style: str = "-") -> None:
    rows = rows.sort_values("sparsity")
    left, error = 1 - rows["sparsity"].to_numpy(), rows["error_pct"].to_numpy()
    spread = rows["error_sd_pct"].astype(float).fillna(0).to_numpy()
    axes.plot(left, error, style, color=colour, marker=".", linewidth=1.2, label=name)
    axes.fill_between(left, np.maximum(error - spread, 1e-3), error + spread, color=colour, alpha=0.15)


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


#: Each picture by the CSV that it is drawn from.
PICTURES = {
    "frontier": frontier,
    "frontier-bytes": anatomy,
    "literature": literature,
    "sparsity-sweep": sparsity_sweep,
}


def draw(results: Path) -> None:
    """Every picture whose CSV lies in `results`, beside it."""
    for name, picture in PICTURES.items():
        path = results / f"{name}.csv"
        if path.exists():
            save_figure(picture(pd.read_csv(path)), path.with_suffix(".png"))
