"""The answer: which form is the smallest that keeps every limit. Pure logic over measured figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from ..checks import check

Runtime = Literal["litert", "tflm"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
Objective = Literal["flash", "download", "arena", "latency"]
#: What has to be small, and the figure that says so; download counts the file under its best coder.
OBJECTIVES: dict[Objective, str] = {
    "flash": "flash_bytes",
    "download": "coded_bytes",
    "arena": "arena_bytes",
    "latency": "latency_us",
}
#: What sums and differences of fractions may be off by.
ROUNDING = 1e-9
#: Latencies that differ by no more than this part of the least are equal; bytes are where they are the same.
EQUAL_LATENCY = 0.05


class _Limit(NamedTuple):
    """What a limit is on, in words too, and how its figures are shown: multiplied, and with a unit."""

    figure: str
    words: str
    shown: str
    times: int = 1
    #: What an excess is measured by at least, so that one over nothing is no infinity.
    least: float = 1.0

    def told(self, value: float) -> str:
        return self.shown.format(value * self.times)


_LIMITS = {
    "max_drop": _Limit("drop", "accuracy drop", "{:.2f} pp", 100, 0.01),
    "max_flash": _Limit("flash_bytes", "flash", "{:,.0f} bytes"),
    "max_arena": _Limit("arena_bytes", "arena", "{:,.0f} bytes"),
    "max_latency_us": _Limit("latency_us", "latency", "{:,.1f} us"),
}
#: The first of them for values to predict.
_RISE = _Limit("drop", "rise of the error", "{:.2f} %", 100, 0.01)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is asked of a form.

    Attributes:
        max_drop: most accuracy lost, a fraction; 0.005 is 0.5 percentage points, or where values are
            predicted 0.5 % of the float net's error. Below 0 asks for a gain.
        max_flash, max_arena: bytes; None for no limit. max_latency_us: microseconds an image.
        runtime: what has to run it. objective: what has to be small.
    Raises:
        ValueError: a limit out of range, an unknown runtime or objective.
    """

    max_drop: float
    max_flash: float | None = None
    max_arena: float | None = None
    max_latency_us: float | None = None
    runtime: Runtime = "litert"
    objective: Objective = "flash"

    def __post_init__(self) -> None:
        check(self.runtime in RUNTIMES, "runtime", self.runtime, ", ".join(RUNTIMES))
        check(self.objective in OBJECTIVES, "objective", self.objective, ", ".join(OBJECTIVES))
        drop = self.max_drop
        check(-1 <= drop <= 1, "max_drop", drop, "-1 to 1 (0.005 is 0.5 percentage points)")
        for name in ("max_flash", "max_arena", "max_latency_us"):
            limit = getattr(self, name)
            check(limit is None or 0 < limit < float("inf"), name, limit, "above 0, or None")

    def given(self, *, of_values: bool) -> dict[_Limit, float]:
        """What each limit that there is allows."""
        limits = _LIMITS | ({"max_drop": _RISE} if of_values else {})
        allowed = {limit: getattr(self, name) for name, limit in limits.items()}
        return {limit: value for limit, value in allowed.items() if value is not None}

    def told(self, *, of_values: bool) -> list[str]:
        """Each limit in words."""
        return [
            f"{limit.words} at most {limit.told(allowed)}"
            for limit, allowed in self.given(of_values=of_values).items()
        ]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One form with what was measured of it.

    Attributes:
        validation_accuracy: fraction, of validation images; the test set plays no part in choosing.
        baseline_accuracy: the same of the float net.
        of_values: whether both are of values to predict, see `labels.right`: what is left to 1 is the error.
        flash_bytes: of the file, which is the model array on a device.
        coded_bytes: of the file under the coder that makes it shortest, which is what a download takes.
        arena_bytes, latency_us: None where not measured; a form without a figure breaks a limit on it.
        runs_on_litert, runs_on_tflm: False also where a runtime computes wrongly. why_not: the reason.
    """

    name: str
    validation_accuracy: float
    baseline_accuracy: float
    flash_bytes: int
    coded_bytes: int
    arena_bytes: int | None = None
    latency_us: float | None = None
    runs_on_litert: bool = True
    runs_on_tflm: bool = True
    why_not: str = ""
    of_values: bool = False

    @property
    def drop(self) -> float:
        """How much accuracy it loses on validation images, a fraction; below 0 is a gain.

        Of values to predict, by how much its error grows, as a part of the float net's.
        """
        return (self.baseline_accuracy - self.validation_accuracy) / self._whole

    @property
    def _whole(self) -> float:
        """What a drop is a part of."""
        return max(1 - self.baseline_accuracy, 1e-12) if self.of_values else 1.0

    def least_accuracy(self, max_drop: float) -> float:
        """The validation accuracy that is left where it loses as much as it may."""
        return self.baseline_accuracy - max_drop * self._whole

    def size(self, objective: Objective) -> float:
        """Bytes or microseconds by an objective; infinite where that was not measured."""
        value = getattr(self, OBJECTIVES[objective])
        return float("inf") if value is None else value

    def runs_on(self, runtime: Runtime) -> bool:
        """Whether the runtime runs it and computes it right."""
        return {"litert": self.runs_on_litert, "tflm": self.runs_on_tflm}[runtime]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `smallest` found.

    Attributes:
        form: the smallest form within the limits; else the one that came closest; None when none runs.
        broken: each limit that `form` breaks, in words; empty when it fits.
        fitting: how many forms fit.
    """

    form: Candidate | None
    broken: tuple[str, ...] = ()
    fitting: int = 0

    @property
    def fits(self) -> bool:
        """Whether a form was found within all limits."""
        return self.form is not None and not self.broken

    def __str__(self) -> str:
        if self.form is None:
            return "no form runs on this runtime"
        if self.fits:
            return f"{self.form.name}: {self.form.flash_bytes:,} bytes"
        return f"nothing fits; {self.form.name} comes closest: {'; '.join(self.broken)}"


def smallest(forms: Iterable[Candidate], limits: Limits, *, noise: float = 0.0) -> Choice:
    """The smallest form within every limit, chosen on validation accuracy.

    Among forms of equal size by the objective the most accurate; of those that are as accurate within noise
    the one of fewest bytes, as it is, then coded. Where nothing fits, the closest is the form with the fewest
    broken limits, and of those the one whose worst excess, as a part of what is allowed, is the least.

    Args:
        forms: with different names; those that do not run on the runtime are left out.
        noise: accuracies that differ by no more are equal, a fraction.
    Raises:
        ValueError: two forms of one name.
    """
    given = list(forms)
    if len({form.name for form in given}) < len(given):
        raise ValueError("two forms have the same name; allowed: a name each")
    excess = {form.name: _excess(form, limits) for form in given if form.runs_on(limits.runtime)}
    runnable = [form for form in given if form.name in excess]
    if not runnable:
        return Choice(form=None)
    fitting = [form for form in runnable if not excess[form.name]]
    if fitting:
        return Choice(form=_best(fitting, limits.objective, noise), fitting=len(fitting))

    def distance(form: Candidate) -> tuple[object, ...]:
        broken = excess[form.name]
        return len(broken), max(broken.values()), form.size(limits.objective), *_order(form)

    closest = min(runnable, key=distance)
    return Choice(form=closest, broken=tuple(excess[closest.name]))


def _excess(form: Candidate, limits: Limits) -> dict[str, float]:
    """Each limit that a form breaks, in words, and by how much, as a part of what is allowed."""
    broken = {}
    for limit, allowed in limits.given(of_values=form.of_values).items():
        value = getattr(form, limit.figure)
        if value is None:
            broken[f"{limit.words} was not measured, allowed {limit.told(allowed)}"] = float("inf")
        # differences of fractions are rounded: 0.98 - 0.975 must not exceed 0.005
        elif value > allowed + ROUNDING:
            part = (value - allowed) / max(abs(allowed), limit.least)
            broken[f"{limit.words} {limit.told(value)}, allowed {limit.told(allowed)}"] = part
    return broken


def _best(fitting: list[Candidate], objective: Objective, noise: float) -> Candidate:
    slack = EQUAL_LATENCY if objective == "latency" else 0.0
    least = min(form.size(objective) for form in fitting)
    equal = [form for form in fitting if form.size(objective) <= least * (1 + slack)]
    most = max(form.validation_accuracy for form in equal)
    return min((form for form in equal if form.validation_accuracy >= most - noise - ROUNDING), key=_order)


def _order(form: Candidate) -> tuple[int, float, int, str]:
    """Between forms of equal size by the objective, and of equal accuracy."""
    return form.flash_bytes, -form.validation_accuracy, form.coded_bytes, form.name
