"""A .tflite file that gives the same outputs, bit for bit, with fewer bytes: no data, no training.

Every step is exact on LiteRT, with and without XNNPACK, and on TFLite Micro (TFLM); what cannot be proved to
be is left as it is, and said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .channel_removal import MOST_CHANNELS, without_constant_channels
from .graph import KERNEL_OPERATORS, Graph, Model, read_model
from .idle_operators import without_idle_operators
from .ranges import Ranges, integer
from .writing import write_model

#: Metadata that name tensors by their numbers, for TFLM: such a file is left as it is.
_NUMBERED_METADATA = (b"OfflineMemoryAllocation", b"COMPRESSION_METADATA")


@dataclass(frozen=True, kw_only=True)
class Slimmed:
    """A file and how it became smaller.

    Attributes:
        savings: bytes that each step took off, by the step's name; below 0 where one cost some.
        notes: what was left as it is, and why.
    """

    content: bytes
    savings: Mapping[str, int]
    notes: tuple[str, ...] = ()


def slim(content: bytes, *, keep_signatures: bool = False, coded: bool = False) -> Slimmed:
    """The same net in fewer bytes.

    Args:
        content: a .tflite file of any form, with one or several subgraphs.
        keep_signatures: keep the signatures, and so the names of inputs and outputs.
        coded: lay it out so that it codes short, for a few bytes more.
    Raises:
        ValueError: no .tflite file, a damaged one, or one with parts that are not understood.
    """
    model = read_model(content)
    for entry in model.root.metadata or ():
        if entry.name in _NUMBERED_METADATA:
            note = f"left as it is: its metadata {entry.name.decode()} name tensors by their numbers"
            return Slimmed(content=content, savings={}, notes=(note,))
    notes = []
    # the subgraphs that signatures lead into
    entries = {signature.subgraphIndex for signature in model.root.signatureDefs or ()}
    if not keep_signatures and entries - {0}:
        keep_signatures = True
        notes.append("the signatures stay: they are the only way into other subgraphs than the first")
    savings, size, written = dict[str, int](), len(content), content
    for step, change in _STEPS.items():
        model = replace(model, graphs=tuple(map(change, model.graphs)))
        written = write_model(
            model, keep_signatures=keep_signatures, shared=step != "unread parts", coded=coded
        )
        savings[step], size = size - len(written), len(written)
    if size >= len(content):
        return Slimmed(content=content, savings={}, notes=(*notes, "nothing to take off"))
    return Slimmed(content=written, savings=savings, notes=(*notes, *_left(model)))


#: In their order; the first two are the writer's doing.
_STEPS: dict[str, Callable[[Graph], Graph]] = {
    "unread parts": lambda graph: graph,
    "equal parts": lambda graph: graph,
    "idle operators": without_idle_operators,
    "constant channels": without_constant_channels,
}


def _left(model: Model) -> list[str]:
    """What could not be proved to say nothing, or was not understood."""
    constant = {"integers": 0, "floats": 0}
    custom, sparse = set(), 0
    for graph in model.graphs:
        ranges = Ranges(graph) if graph.channels <= MOST_CHANNELS else None
        for operator in graph.operators:
            if operator.name in KERNEL_OPERATORS and ranges is not None:
                output = operator.outputs[0]
                kind = "integers" if integer(graph.tensors[output]) else "floats"
                constant[kind] += int(ranges.constant(output).sum())
            if operator.name.startswith("CUSTOM"):
                custom.add(operator.name.removeprefix("CUSTOM "))
        sparse += sum(tensor.table.sparsity is not None for tensor in graph.tensors)
    found = []
    if constant["floats"]:
        found.append(f"{constant['floats']} channels of 0 stay: sums of floats depend on their order")
    if constant["integers"]:
        found.append(f"{constant['integers']} constant channels stay: borders or other readers need them")
    if custom:
        found.append(f"what {', '.join(sorted(custom))} reads and writes stays: it is not understood")
    if sparse:
        found.append(f"{sparse} sparse tensors stay as they are")
    return found
