"""One colour for one method, whatever the form is called."""

import csv
from pathlib import Path

import model_compression.study
from model_compression.evidence.style import method_of

CATALOGUE = Path(model_compression.study.__path__[0]) / "forms.csv"


def test_every_form_of_the_catalogue_is_drawn_as_a_method_and_the_float_nets_alone_as_floats() -> None:
    with CATALOGUE.open(newline="") as file:
        names = {row["name"] for row in csv.DictReader(file) if row["is_control"] != "yes"}
    assert {name for name in names if method_of(name)[0] == "float"} == {"non_quantized"}
    assert method_of("dynamic_range")[0] == "quantized"


def test_control_is_grey_whatever_it_is_called() -> None:
    assert method_of("longer_trained_int4", is_control=True)[0] == "control"
