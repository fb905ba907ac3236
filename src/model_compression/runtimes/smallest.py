"""The answer: which form is the smallest that keeps every limit. Pure logic over measured figures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Runtime = Literal["litert", "tflm"]
RUNTIMES: tuple[Runtime, ...] = ("litert", "tflm")
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


#: Each limit's words, how its figures are shown, and by what they are multiplied for it.
_SHOWN = {
    "max_drop": ("accuracy drop", "{:.2f} pp", 100),
    "max_rise": ("rise of the error", "{:.2f} %", 100),
    "max_flash": ("flash", "{:,.0f} bytes", 1),
    "max_arena": ("arena", "{:,.0f} bytes", 1),
    "max_latency_us": ("latency", "{:,.1f} us", 1),
}


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
        lost = self.baseline_accuracy - self.validation_accuracy
        return lost / max(1 - self.baseline_accuracy, 1e-12) if self.of_values else lost

    def size(self, objective: Objective) -> float:
        """Bytes or microseconds by an objective; infinite where that was not measured."""
        value = getattr(self, OBJECTIVES[objective])
        return float("inf") if value is None else value

    def runs_on(self, runtime: Runtime) -> bool:
        """Whether the runtime runs it and computes it right."""
        return self.runs_on_tflm if runtime == "tflm" else self.runs_on_litert


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A limit that a form breaks.

    Attributes:
        limit: "max_drop", "max_rise" (the same of values to predict), "max_flash", "max_arena" or
            "max_latency_us".
        value, allowed: a fraction, bytes or microseconds; value is None where it was not measured.
    """

    limit: str
    value: float | None
    allowed: float

    def __str__(self) -> str:
        words, shown, unit = _SHOWN[self.limit]
        value = "was not measured" if self.value is None else shown.format(self.value * unit)
        return f"{words} {value}, allowed {shown.format(self.allowed * unit)}"

    @property
    def excess(self) -> float:
        """By how much it is broken, as a part of what is allowed (of 1 pp or more, for accuracy)."""
        if self.value is None:
            return float("inf")
        least = 0.01 if self.limit in ("max_drop", "max_rise") else 1.0
        return (self.value - self.allowed) / max(abs(self.allowed), least)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `smallest` found.

    Attributes:
        form: the smallest form within the limits; else the one that came closest; None when none runs.
        broken: the limits that `form` breaks; empty when it fits.
        fitting: how many forms fit.
    """

    form: Candidate | None
    broken: tuple[Broken, ...] = ()
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
        return f"nothing fits; {self.form.name} comes closest: {'; '.join(map(str, self.broken))}"


def smallest(
    forms: Iterable[Candidate],
    *,
    max_drop: float,
    max_flash: float | None = None,
    max_arena: float | None = None,
    max_latency_us: float | None = None,
    runtime: Runtime = "litert",
    objective: Objective = "flash",
    noise: float = 0.0,
) -> Choice:
    """The smallest form within every limit, chosen on validation accuracy.

    Among forms of equal size by the objective the most accurate; of those that are as accurate within noise
    the one of fewest bytes, as it is, then coded. Where nothing fits, the closest is the form with the fewest
    broken limits, and of those the one whose worst excess is the least.

    Args:
        forms: with different names.
        max_drop: most accuracy lost, a fraction; 0.005 is 0.5 percentage points, or where values are
            predicted 0.5 % of the float net's error. Below 0 asks for a gain.
        max_flash, max_arena: bytes; None for no limit. max_latency_us: microseconds an image.
        runtime: forms that do not run there are left out.
        objective: of `OBJECTIVES`. noise: accuracies that differ by no more are equal, a fraction.
    Raises:
        ValueError: a limit out of range, an unknown runtime or objective, or two forms of one name.
    """
    sizes = {"max_flash": max_flash, "max_arena": max_arena, "max_latency_us": max_latency_us}
    _check(runtime, objective, max_drop, sizes)
    limits = {"max_drop": max_drop} | sizes
    given = list(forms)
    if len({form.name for form in given}) < len(given):
        raise ValueError("two forms have the same name; allowed: a name each")
    broken = {form.name: _broken(form, limits) for form in given if form.runs_on(runtime)}
    runnable = [form for form in given if form.name in broken]
    if not runnable:
        return Choice(form=None)
    fitting = [form for form in runnable if not broken[form.name]]
    if fitting:
        return Choice(form=_best(fitting, objective, noise), fitting=len(fitting))

    def distance(form: Candidate) -> tuple[object, ...]:
        excess = max(each.excess for each in broken[form.name])
        return len(broken[form.name]), excess, form.size(objective), *_order(form)

    closest = min(runnable, key=distance)
    return Choice(form=closest, broken=broken[closest.name])


def _check(
    runtime: Runtime, objective: Objective, max_drop: float, sizes: Mapping[str, float | None]
) -> None:
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime is {runtime!r}; allowed: {', '.join(RUNTIMES)}")
    if objective not in OBJECTIVES:
        raise ValueError(f"objective is {objective!r}; allowed: {', '.join(OBJECTIVES)}")
    if not -1 <= max_drop <= 1:
        raise ValueError(f"max_drop is {max_drop!r}; allowed: -1 to 1 (0.005 is 0.5 percentage points)")
    for name, limit in sizes.items():
        if limit is not None and not 0 < limit < float("inf"):
            raise ValueError(f"{name} is {limit!r}; allowed: above 0, or None")


def _broken(form: Candidate, limits: Mapping[str, float | None]) -> tuple[Broken, ...]:
    """The limits that a form breaks."""
    values = (form.drop, form.flash_bytes, form.arena_bytes, form.latency_us)
    # differences of fractions are rounded: 0.98 - 0.975 must not exceed 0.005
    names = ["max_rise" if form.of_values and name == "max_drop" else name for name in limits]
    return tuple(
        Broken(limit=name, value=value, allowed=limit)
        for name, limit, value in zip(names, limits.values(), values, strict=True)
        if limit is not None and (value is None or value > limit + ROUNDING)
    )


def _best(fitting: list[Candidate], objective: Objective, noise: float) -> Candidate:
    slack = EQUAL_LATENCY if objective == "latency" else 0.0
    least = min(form.size(objective) for form in fitting)
    equal = [form for form in fitting if form.size(objective) <= least * (1 + slack)]
    most = max(form.validation_accuracy for form in equal)
    return min((form for form in equal if form.validation_accuracy >= most - noise - ROUNDING), key=_order)


def _order(form: Candidate) -> tuple[int, int, float, str]:
    """Between forms of equal size by the objective, and of equal accuracy."""
    return form.flash_bytes, form.coded_bytes, -form.validation_accuracy, form.name
