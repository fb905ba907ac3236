"""The table of tools: what a row holds, and that an interrupted table goes on."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    import own_models

REPOSITORY = Path(__file__).parents[2]
README = " ".join((REPOSITORY / "README.md").read_text().split())


def _row(name: str, *rest: object, **named: object) -> dict[str, object]:
    figures = {
        f"{tool}_{objective}_bytes": 1000 * place + 100 * (objective == "flash")
        for place, tool in enumerate(own_models.TOOLS, 1)
        for objective in ("flash", "download")
    }
    return {"model": name, "float_flash_bytes": 10_000, "float_download_bytes": 5000, **figures}


def test_interrupted_table_goes_on_and_keeps_the_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []

    def row(name: str, *rest: object, **named: object) -> dict[str, object]:
        made.append(name)
        return _row(name)

    monkeypatch.setattr(own_models, "row", row)
    given = ["--results-dir", str(tmp_path), "--folder", str(tmp_path / "models")]
    assert own_models.main([*given, "--models", "fashion_mnist-ds_cnn"]) == 0
    assert own_models.main([*given, "--models", "mnist1d-cnn_1d", "fashion_mnist-ds_cnn"]) == 0
    assert made == ["fashion_mnist-ds_cnn", "mnist1d-cnn_1d"]
    table = pd.read_csv(tmp_path / "own-models.csv")
    assert list(table["model"]) == ["mnist1d-cnn_1d", "fashion_mnist-ds_cnn"]
    assert (tmp_path / "own-models.png").read_bytes().startswith(b"\x89PNG")


def test_tool_without_a_file_within_the_limit_is_said_and_drawn_as_a_gap(tmp_path: Path) -> None:
    assert own_models._figures("quantizer_flash", None, {}, None) == {  # type: ignore[arg-type]
        "quantizer_flash_form": "none within the limit"
    }
    table = pd.DataFrame([_row("mnist-baseline")]).drop(columns="quantizer_flash_bytes")
    left, right = own_models.picture(table).axes
    assert [len(axes.patches) for axes in (left, right)] == [4, 4]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([20, 40, 60, 80])
    assert np.isnan(left.patches[2].get_width())


def test_readme_says_what_training_alone_changes() -> None:
    table = pd.read_csv(REPOSITORY / "results" / "own-models.csv", index_col="model")
    assert list(table.index) == list(own_models.MODELS)
    for objective in own_models.OBJECTIVES:
        test = {tool: table[f"{tool}_{objective}_test_accuracy"] for tool in ("float", *own_models.TOOLS)}
        assert 100 * (test["trained"] - test["converter"]).abs().max() < 0.1
        more = 100 * (test["command"] - test["float"])["fashion_mnist-mobilenet_v2"]
        assert f"The smallest file of MobileNetV2 has {more:.1f} points more" in README
    assert "less than 0.1 points from the converter's file" in README


@pytest.mark.parametrize("name", [name for name, (_, net) in own_models.MODELS.items() if callable(net)])
def test_own_models_take_their_data(name: str) -> None:
    data, build = own_models.MODELS[name]
    assert callable(build)
    model = build((40,) if data == "mnist1d" else (28, 28), 10)
    assert model.output_shape == (None, 10)
