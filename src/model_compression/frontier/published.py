"""Figures of other people's work on MNIST, as their sources state them: `published.csv`.

Ways of counting bytes are not comparable, so each figure carries its own: `file`, bytes of a decodable
file; `payload`, coded weights alone, for a decoder that knows the graph; `flash`, weights in a device's
memory, where they are run in place; `estimate`, values, codebook and indices added up, without a program to
decode them; `parameters`, four bytes for each dense weight divided by the stated ratio of parameters to
non-zeros; `program`, a compressed program with its weights, the language's interpreter not counted.
"""

from pathlib import Path

import pandas as pd

#: Parameters of the nets that the papers share.
PARAMETERS = {"lenet_300_100": 266_610, "lenet_5": 431_080, "baseline": 20_410}
FLOAT_BYTES = 4
COUNTS = ("file", "payload", "flash", "estimate", "parameters", "program")


def published() -> pd.DataFrame:
    """One row a figure, oldest first: method, net, error_pct, size_bytes, ratio, counted_as, source, bytes.

    `net` is a name of `PARAMETERS`, or another net by the name that its source gives it. `error_pct` is
    missing where the source gives none; `size_bytes` and `ratio`, dense float32 bytes over compressed ones,
    are as stated, and `bytes` the first of them, or what the second leaves of the dense weights. `source` is
    where it was read; "quoted" when in another paper than its own.
    """
    table = pd.read_csv(Path(__file__).with_name("published.csv"))
    left = FLOAT_BYTES * table["net"].map(PARAMETERS) / table["ratio"]
    return table.assign(bytes=table["size_bytes"].fillna(left.round()).astype("int64"))
