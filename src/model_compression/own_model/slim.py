"""`python -m model_compression slim model.tflite`: the same answers in fewer bytes, with the proof.

The file is slimmed, both files are run on the same inputs, and nothing is written unless they give the same
outputs, bit for bit. They run in a process of their own: LiteRT trusts its files, and a damaged one may end
it.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..children import Child, DeathError
from ..files import coding, running, sameness
from ..files.graph import account, read_graph
from ..files.sameness import Compared, Given
from ..files.slimming import Slimmed, slim
from ..runtimes.tflm import MAX_ARENA_BYTES, MicroError, Tflm
from ..store import write_atomically
from ..templates import fill
from .request import Parser

#: Inputs that both files are given, and of these the first for TFLite Micro, whose kernels take long.
INPUTS, MICRO_INPUTS = 200, 40
#: Seconds that a call of LiteRT may take; a loop in a file may have no end.
LIMIT = 1200


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a file takes.

    Attributes:
        coder: of the shortest coding. multiply_adds: of one input; None where they cannot be counted.
        arena_bytes: the smallest on TFLite Micro; None where it does not run there.
    """

    file_bytes: int
    coded_bytes: int
    coder: str
    multiply_adds: int | None
    arena_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A file before and after, and what both gave on the same inputs."""

    slimmed: Slimmed
    before: Figures
    after: Figures
    proof: tuple[Compared, ...]

    @property
    def same(self) -> bool:
        return not any(line.differing for line in self.proof)


def run(
    content: bytes,
    *,
    keep_signatures: bool = False,
    given: Sequence[Given] = (),
    inputs: int = INPUTS,
    micro_inputs: int = MICRO_INPUTS,
) -> Report:
    """Slim a file and compare both.

    Args:
        given: inputs to compare on beside those that are drawn.
        inputs, micro_inputs: how many are drawn, and how many of all TFLite Micro gets.
    Raises:
        ValueError: a file that cannot be read or run.
    """
    slimmed = slim(content, keep_signatures=keep_signatures)
    both = content, slimmed.content
    with Child() as own:
        try:
            drawn = [*given, *own.call(partial(sameness.drawn, seed=0), content, inputs, seconds=LIMIT)]
            proof = own.call(sameness.compared, *both, drawn, seconds=LIMIT)
            counts = [own.call(_multiply_adds, each) for each in both]
        except DeathError as error:
            if error.status is None:
                raise ValueError(f"LiteRT cannot run the file: it {error}") from error
            raise ValueError("LiteRT ends the process that runs the file: it is damaged") from error
        except RuntimeError as error:
            raise ValueError(f"LiteRT cannot run the file: {error}") from error
    if all(line.reason for line in proof):
        raise ValueError(f"LiteRT cannot run the file: {proof[0].reason}")
    with Tflm() as child:
        micro = {"TFLite Micro": partial(_on_micro, child)}
        proof += sameness.compared(*both, drawn[:micro_inputs], micro)
        before, after = map(partial(_figures, child), both, counts)
    return Report(slimmed=slimmed, before=before, after=after, proof=tuple(proof))


def _multiply_adds(content: bytes) -> int | None:
    try:
        return sum(row.dense_macs for row in account(running.allocated_graph(content)))
    except ValueError:
        return None  # a kernel that is computed


def _figures(child: Tflm, content: bytes, multiply_adds: int | None) -> Figures:
    coder, coded = coding.best_coded(content)
    arena_bytes = None
    with contextlib.suppress(MicroError):
        arena_bytes = child.smallest_arena(content)
    return Figures(
        file_bytes=len(content),
        coded_bytes=len(coded),
        coder=coder,
        multiply_adds=multiply_adds,
        arena_bytes=arena_bytes,
    )


def _on_micro(child: Tflm, content: bytes, given: Sequence[Given]) -> list[bytes]:
    """All outputs for each of the inputs, as their bytes."""
    child.load(content, MAX_ARENA_BYTES)
    rows = child.run([np.stack(arrays) for arrays in zip(*given, strict=True)])
    return [b"".join(output.tobytes() for output in outputs) for outputs in zip(*rows, strict=True)]


def checked(path: Path, content: bytes) -> list[Given]:
    """A user's inputs: one array (n, ...) for each of the net's, in their order.

    Of the input's own type; floats for an input of integers are quantized.
    Raises:
        ValueError: arrays that do not fit.
    """
    graph = read_graph(content)
    tensors = [graph.tensors[index] for index in graph.inputs]
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = [file[name] for name in file.files]
    except OSError:
        raise
    # whatever NumPy, its zip reader or its parser of headers says
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an .npz file: {error}") from error
    lengths = {len(array) if array.ndim else 0 for array in arrays}
    if len(arrays) != len(tensors) or len(lengths) != 1 or not min(lengths):
        raise ValueError(
            f"{path} has {len(arrays)} arrays; allowed: one of (n, ...) for each of {len(tensors)} inputs"
        )
    fitting = []
    for array, tensor in zip(arrays, tensors, strict=True):
        if array[0].size != np.prod(tensor.shape):
            raise ValueError(f"{path} has inputs of {array.shape[1:]}; the file takes {tensor.shape}")
        if array.dtype.kind == "f" and tensor.dtype.startswith(("int", "uint")) and tensor.scale.size == 1:
            scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
            array = running.quantize(array, scale=scale, zero_point=zero_point, dtype=tensor.dtype)
        if array.dtype != tensor.dtype:
            raise ValueError(f"{path} has inputs of {array.dtype}; the file takes {tensor.dtype}")
        fitting.append(array.reshape(len(array), *tensor.shape))
    return list(zip(*fitting, strict=True))


def table(report: Report) -> str:
    """What was saved by what, and the proof: text of fixed width."""
    template = Path(__file__).with_name("slim.txt.jinja")
    return fill(template, **vars(report), drawn=sameness.DRAWN).rstrip("\n")


def main(arguments: Sequence[str]) -> int:
    """Carry out the command: 0 when a file was written, 1 when the outputs differ."""
    about = "Write a .tflite file that gives the same outputs, bit for bit, in fewer bytes."
    parser = Parser(prog="python -m model_compression slim", description=about, allow_abbrev=False)
    parser.add_argument("model", type=Path, help="a .tflite file")
    parser.add_argument("--output", type=Path, help="the smaller file; default: MODEL_slim.tflite beside it")
    parser.add_argument("--keep-signatures", action="store_true", help="keep the names of inputs and outputs")
    parser.add_argument("--check", type=Path, help="an .npz of inputs to compare on too, (n, ...) each")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    given = parser.parse_args(arguments)
    try:
        output = given.output or given.model.with_name(f"{given.model.stem}_slim.tflite")
        if output.exists() and not given.force:
            raise ValueError(f"{output} exists; --force overwrites it")
        if not output.absolute().parent.is_dir():
            raise ValueError(f"{output.parent} is no folder")
        content = given.model.read_bytes()
        own = checked(given.check, content) if given.check else []
        report = run(content, keep_signatures=given.keep_signatures, given=own)
        print(table(report))
        if not report.same:
            places = [f"{line.runtime}, {line.place}" for line in report.proof if line.differing]
            print(f"nothing is written: the outputs differ on {'; '.join(places)}")
            return 1
        write_atomically(output, report.slimmed.content)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{output}: {report.after.file_bytes:,} bytes")
    return 0
