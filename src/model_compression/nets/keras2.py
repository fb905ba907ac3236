"""The one place that picks a Keras.

TFMOT needs Keras 2, so every module takes `keras`, `tf` and `tfmot` from here. One thread and
deterministic ops make a training give the same weights whatever the number of cores; the study
runs side by side in processes instead.
"""

import sys

from ..quiet import quiet

# TFMOT looks into Keras 3 for a class that is not there: an eighth of the time that all this takes
blocked = "keras" not in sys.modules
if blocked:
    sys.modules["keras"] = None  # type: ignore[assignment]

with quiet():
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras as keras
    from litert_quantizer import calibrator, qtyping, quantizer, recipe
    from litert_quantizer.utils import qsv_utils
    from tensorflow.python.autograph.core import config as autograph
    from tensorflow.python.ops import nn_impl, nn_ops
    from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import (
        cluster_weights,
    )
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
        cluster_utils,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry,
        default_8bit_quantize_scheme,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit import (
        default_n_bit_quantize_scheme,
    )

    # Python that branches on tensors is rewritten as a graph's operations before it is traced, which takes a
    # quarter of a short training; neither TFMOT nor the study has such
    autograph.CONVERSION_RULES = (
        autograph.DoNotConvert("tensorflow_model_optimization"),
        autograph.DoNotConvert(__name__.partition(".")[0]),
        *autograph.CONVERSION_RULES,
    )
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")

if blocked:
    del sys.modules["keras"]
