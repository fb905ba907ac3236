"""Variants of the best forms, tried while there is time: turned up, or trained for longer."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..runtimes.smallest import Candidate, Objective, smallest
from ..study.recipes import Recipe
from .search import Search

#: At most so many times as long a form is trained again that loses too much.
LONGEST = 8
#: The last sparsity that pruning is turned up to.
MOST_SPARSE = 0.99
#: How a technique is turned up, by the field of its config, and what that makes smaller.
DIALS: Mapping[str, tuple[Callable[[float], float], tuple[Objective, ...]]] = {
    "price": (lambda price: 3 * price, ("download",)),
    "final_sparsity": (lambda sparsity: min(1 - (1 - sparsity) / 2, MOST_SPARSE), ("download",)),
    "keep": (lambda keep: 0.7 * keep, ("flash", "download", "arena", "latency")),
}
#: Variants of a round, of those that are worth trying the most promising.
MOST_AT_ONCE = 3
#: Forms that fit are turned up if they are less than so many times as large as the smallest.
NEAR = 2.0
#: What is less than so many times as large as before is turned up again.
GAIN = 0.95


def go_further(search: Search, until: float) -> None:
    """Turn up what fits, train for longer what is smaller and loses too much, a few at once.

    Args:
        until: of `time.monotonic`.
    """
    chains = [[name] for name in search.made.stages[-1] if name in search.candidates]
    while time.monotonic() < until:
        found = [(chain, recipe) for chain in chains if (recipe := _next(search, chain))]
        found = sorted(found, key=lambda each: _promise(search, each[0][-1]))[:MOST_AT_ONCE]
        if not found:
            break
        for chain, recipe in found:
            chain.append(_called(chain[0], recipe, recipe.epochs // search.made.recipes[chain[0]].epochs))
            search.made.add(chain[-1], recipe)
        search.go_through([chain[-1] for chain, _ in found], until)


def _next(search: Search, chain: Sequence[str]) -> Recipe | None:
    """What is worth trying after the variants of a chain, the form itself first."""
    objective, recipes, last = search.request.objective, search.made.recipes, search.candidates.get(chain[-1])
    if last is None:
        return None
    recipe, best, size = recipes[last.name], search.choice, last.size(objective)
    least = best.form.size(objective) if best.form and best.fits else math.inf
    if _fits(search, last):
        harder = turned_up(recipe, objective)
        if not harder or size >= NEAR * least:
            return None
        before = [form for name in chain[:-1] if _fits(search, form := search.candidates[name])]
        if size < GAIN * min((form.size(objective) for form in before), default=math.inf):
            return harder
        # it may take longer for the dial to tell
    elif size >= least or not _fits(search, last, max_drop=1.0):
        return None
    return recipe.longer(2) if recipe.epochs < LONGEST * recipes[chain[0]].epochs else None


def _fits(search: Search, form: Candidate, max_drop: float | None = None) -> bool:
    limits = search.request if max_drop is None else replace(search.request, max_drop=max_drop)
    return smallest([form], limits).fits


def _promise(search: Search, name: str) -> tuple[bool, float]:
    """What is tried first: beyond the smallest that fits, then beyond what loses the least."""
    form = search.candidates[name]
    fits = _fits(search, form)
    return not fits, form.size(search.request.objective) if fits else form.drop


def turned_up(recipe: Recipe, objective: Objective) -> Recipe | None:
    """The recipe with its last technique that has a dial for the objective turned up; None if none can be."""
    for place, step in reversed(list(enumerate(recipe.steps))):
        for dial, (turn, helps) in DIALS.items():
            if objective in helps and hasattr(step.technique, dial):
                value = getattr(step.technique, dial)
                changed: Any = {dial: float(f"{turn(value):.3g}")}
                if changed[dial] == value:
                    return None
                step = replace(step, technique=replace(step.method, **changed))
                return replace(recipe, steps=(*recipe.steps[:place], step, *recipe.steps[place + 1 :]))
    return None


def _called(name: str, recipe: Recipe, times: int) -> str:
    """A variant's name: its form's, where its dials stand, and how many times as long it is trained."""
    found = {
        dial: getattr(step.technique, dial)
        for step in recipe.steps
        for dial in DIALS
        if hasattr(step.technique, dial)
    }
    told = "".join(f"_{dial}_{value:g}" for dial, value in found.items())
    return name + told + (f"_{times}x" if times > 1 else "")
