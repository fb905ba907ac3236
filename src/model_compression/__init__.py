"""Neural-network compression, measured alike: a recipe goes in, a record comes out."""

import os
from pathlib import Path

# TFMOT needs Keras 2, and whoever imports TensorFlow first decides
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: The folder that holds src, results and the README.
REPOSITORY = Path(__file__).resolve().parents[2]
