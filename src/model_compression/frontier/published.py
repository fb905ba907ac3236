"""Figures of other people's work on MNIST, as their sources state them.

Ways of counting bytes are not comparable, so each figure carries its own: `file`, bytes of a decodable
file; `payload`, coded weights alone, for a decoder that knows the graph; `flash`, weights in a device's
memory, where they are run in place; `estimate`, values, codebook and indices added up, without a program to
decode them; `parameters`, four bytes for each dense weight divided by the stated ratio of parameters to
non-zeros; `program`, a compressed program with its weights, the language's interpreter not counted.
"""

from dataclasses import dataclass

#: Parameters of the nets that the papers share.
PARAMETERS = {"lenet_300_100": 266_610, "lenet_5": 431_080, "baseline": 20_410}
FLOAT_BYTES = 4
COUNTS = ("file", "payload", "flash", "estimate", "parameters", "program")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure.

    Attributes:
        net: a name of `PARAMETERS`, or another net by the name that its source gives it.
        error_pct: test error in %; None where the source gives none.
        size_bytes: as stated; None where only a ratio is.
        ratio: dense float32 bytes over compressed ones, as stated; None where only bytes are.
        counted_as: one of `COUNTS`.
        source: where it was read; "quoted" when in another paper than its own.
    Raises:
        ValueError: an unknown way of counting, or neither bytes nor a ratio of a known net.
    """

    method: str
    net: str
    error_pct: float | None
    counted_as: str
    source: str
    size_bytes: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if self.counted_as not in COUNTS:
            raise ValueError(f"counted_as is {self.counted_as!r}; allowed: {', '.join(COUNTS)}")
        if self.size_bytes is None and (self.ratio is None or self.net not in PARAMETERS):
            raise ValueError(f"{self.method} on {self.net}: neither bytes nor the ratio of a known net")

    @property
    def bytes(self) -> int:
        """As stated, or what the stated ratio leaves of the dense float32 weights."""
        if self.size_bytes is not None:
            return self.size_bytes
        assert self.ratio is not None
        return round(FLOAT_BYTES * PARAMETERS[self.net] / self.ratio)


def _lenets(method: str, counted_as: str, source: str, *figures: tuple[float, float]) -> list[Published]:
    """(error, ratio) on LeNet-300-100, then on LeNet-5."""
    nets = ("lenet_300_100", "lenet_5")
    return [
        Published(method=method, net=net, error_pct=error, ratio=ratio, counted_as=counted_as, source=source)
        for net, (error, ratio) in zip(nets, figures, strict=True)
    ]


def _point(
    counted_as: str,
    method: str,
    net: str,
    error_pct: float,
    size_bytes: int,
    source: str,
    ratio: float | None = None,
) -> Published:
    return Published(
        method=method,
        net=net,
        error_pct=error_pct,
        size_bytes=size_bytes,
        ratio=ratio,
        counted_as=counted_as,
        source=source,
    )


_DEEP = "arXiv:1510.00149, tables 1 and 2"
_MIRACLE = "arXiv:1810.00440, own decoder, which knows the graph"
_BITNET = "github.com/cpldcpu/BitNetMCU, documentation_cnn.md"
_BITNET_NOW = "github.com/cpldcpu/BitNetMCU, document of 2026"
_PROGRAM = "arXiv:2609.21032, quoted: at most this error, one net, chosen on the test set"

#: Figures by method, oldest first.
PUBLISHED: tuple[Published, ...] = (
    _point("estimate", "Deep Compression", "lenet_300_100", 1.58, 27_000, _DEEP, 40),
    _point("estimate", "Deep Compression", "lenet_5", 0.74, 44_000, _DEEP, 39),
    *_lenets("Dynamic Network Surgery", "parameters", "arXiv:1608.04493, quoted", (1.99, 56), (0.91, 108)),
    *_lenets("Sparse variational dropout", "parameters", "arXiv:1701.05369", (1.92, 68), (0.75, 280)),
    *_lenets("Soft weight sharing", "estimate", "arXiv:1702.04008", (1.94, 64), (0.97, 162)),
    _point("estimate", "Bayesian Compression", "lenet_5", 1.0, 2_300, "arXiv:1705.08665, quoted", 771),
    _point("file", "Weightless", "lenet_5", 1.0, 4_520, "arXiv:1711.04686, quoted", 382),
    _point("payload", "MIRACLE", "lenet_5", 0.69, 3_030, _MIRACLE, 555),
    _point("payload", "MIRACLE", "lenet_5", 0.96, 1_520, _MIRACLE, 1110),
    _point("payload", "MIRACLE, re-implemented", "lenet_5", 0.98, 1_150, "a student's report, quoted"),
    Published(
        method="Progressive ADMM",
        net="lenet_5",
        error_pct=None,
        ratio=246,
        counted_as="parameters",
        source='arXiv:1903.09769, "almost zero loss"',
    ),
    _point(
        "file", "Entropy-penalised reparametrisation", "lenet_300_100", 1.9, 8_560, "arXiv:1906.06624", 124
    ),
    _point("file", "Entropy-penalised reparametrisation", "lenet_5", 1.0, 2_840, "arXiv:1906.06624", 606),
    _point("file", "TFMOT pruning tutorial", "baseline", 2.57, 8_219, "as a third party ran it, quoted"),
    *(
        _point("flash", "BitNetMCU", "16 x 16 CNN", error, size, _BITNET)
        for error, size in (
            (1.08, 3_200),
            (0.94, 5_400),
            (0.72, 7_300),
            (0.56, 9_300),
            (0.45, 11_000),
            (0.42, 13_040),
        )
    ),
    _point("flash", "BitNetMCU, 2026", "16 x 16 CNN", 0.47, 11_000, _BITNET_NOW),
    _point("flash", "BitNetMCU, 2026", "16 x 16, no convolutions", 0.75, round(8.1 * 1024), _BITNET_NOW),
    _point("flash", "BitNetMCU, 2026", "16 x 16, no convolutions", 0.63, round(9.7 * 1024), _BITNET_NOW),
    _point("program", "Program by language models", "free", 0.60, 1_957, _PROGRAM),
    _point("program", "Program by a human", "free", 0.60, 2_461, _PROGRAM),
)
