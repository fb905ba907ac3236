"""The table of published files: what it tells of each, and what it refuses."""

from pathlib import Path

import pandas as pd
import peers
import pytest
from tflite_graphs import NONE, Made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = Made("int8", (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.conv(made.input, 6, dead=[1, 4]), 3)
    path = tmp_path / "model.tflite"
    path.write_bytes(made.content(made.softmax(made.dense(made.flatten(hidden), 4, activation=NONE))))
    return path


def test_table_of_published_files_tells_before_and_after(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(peers.SOURCES, "model.tflite", ("a test", "here", "MIT"))
    found = peers.table(model.parent, inputs=5)
    (row,) = found.to_dict("records")
    assert row["published_bytes"] == len(model.read_bytes()) > row["slimmed_bytes"]
    assert row["published_multiply_adds"] > row["slimmed_multiply_adds"]
    assert (row["equal_inputs"], row["task"], row["source"], row["licence"]) == (5, "a test", "here", "MIT")
    monkeypatch.setattr(peers, "table", lambda folder: found)
    peers.main([str(model.parent), "--results", str(tmp_path)])
    assert list(pd.read_csv(tmp_path / "peers.csv").columns) == list(found.columns)


def test_folder_without_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: .* holds no \.tflite file$"):
        peers.main([str(tmp_path)])
