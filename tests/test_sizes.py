"""Nothing in the package is longer than can be read at a sitting."""

import ast
from pathlib import Path

import pytest

import model_compression

FILES = sorted(Path(model_compression.__file__).parent.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_file_and_its_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}
