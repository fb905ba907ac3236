"""The example runs as it stands in the repository."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "add_a_technique.py"


def test_technique_of_ones_own_needs_no_other_file(tmp_path: Path, few: object) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    (tmp_path / "data").symlink_to(EXAMPLE.parents[1] / "data")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs, *row = done.stdout.splitlines()
    assert ours.startswith("Record(recipe='rounded', ")
    assert theirs.startswith("Record(recipe='non_quantized', ")
    assert any(line.split() == ["recipe", "rounded"] for line in row)
    assert any(line.startswith("verdict ") for line in row)
