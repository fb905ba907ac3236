"""Neural-network compression, measured alike: a recipe goes in, a record comes out."""

import os

# TFMOT needs Keras 2, and whoever imports TensorFlow first decides
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
