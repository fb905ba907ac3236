"""Published reference files and what is left of them: `make peers PEERS=FOLDER`.

The files themselves are not part of the project; the table says where they are from.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from model_compression.own_model import slim

#: Inputs that each file is compared on, drawn as `files.sameness` says.
INPUTS = 1000
_TINY = "github.com/mlcommons/tiny, commit 1afd2c9, benchmark/training/{}/trained_models"
#: By file name: what it is for, where it is from, and its licence.
SOURCES = {
    "vww_96_int8.tflite": ("visual wake words", _TINY.format("visual_wake_words"), "Apache-2.0"),
    "kws_ref_model.tflite": ("keyword spotting", _TINY.format("keyword_spotting"), "Apache-2.0"),
    "pretrainedResnet_quant.tflite": (
        "image classification",
        _TINY.format("image_classification"),
        "Apache-2.0",
    ),
}


def row(name: str, content: bytes, *, inputs: int = INPUTS) -> dict[str, object]:
    """One file as published and slimmed.

    Raises:
        ValueError: the file cannot be read or run, or the outputs differ.
    """
    report = slim.run(content, inputs=inputs, micro_inputs=inputs)
    if not report.same:
        raise ValueError(f"{name}: the outputs differ")
    task, source, licence = SOURCES.get(name, ("", "", ""))
    before, after = report.before, report.after
    return {
        "file": name,
        "task": task,
        "published_bytes": before.file_bytes,
        "slimmed_bytes": after.file_bytes,
        "published_coded_bytes": before.coded_bytes,
        "slimmed_coded_bytes": after.coded_bytes,
        "published_multiply_adds": before.multiply_adds,
        "slimmed_multiply_adds": after.multiply_adds,
        "published_arena_bytes": before.arena_bytes,
        "slimmed_arena_bytes": after.arena_bytes,
        "equal_inputs": min(line.inputs for line in report.proof if not line.reason),
        "source": source,
        "licence": licence,
    }


def table(folder: Path, *, inputs: int = INPUTS) -> pd.DataFrame:
    """One row for each .tflite file of a folder, by name.

    Raises:
        ValueError: there is none, or one that cannot be read or run, or whose outputs differ.
    """
    paths = sorted(folder.glob("*.tflite"))
    if not paths:
        raise ValueError(f"{folder} holds no .tflite file")
    return pd.DataFrame([row(path.name, path.read_bytes(), inputs=inputs) for path in paths])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `peers.csv` into the folder of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the published .tflite files")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the table")
    given = parser.parse_args(arguments)
    try:
        found = table(given.folder)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    found.to_csv(given.results / "peers.csv", index=False)
    print(found.drop(columns=["source", "licence"]).T.to_string(header=False))


if __name__ == "__main__":
    main()
