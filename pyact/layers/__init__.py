"""Layers under Keras's names: each turns a value into a value by a few operators.

A layer of your own subclasses `Layer`, makes its weights in `build` and says in `call`,
with `pyact.ops` or Python's arithmetic, what it computes. `call` is traced once for each
batch size and runs in C from then on:

    class Scale(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", input_shape[-1:], "ones")

        def call(self, x, training=False):
            return x * self.scale

Shapes are tuples whose first entry, the batch, is None where it is not known. Weights
have Keras's shapes: a Dense kernel is (in, out).
"""

from .activation import (
    ELU,
    GELU,
    SELU,
    Activation,
    HardSigmoid,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Swish,
    Tanh,
)
from .base import (
    KNOWN,
    Input,
    InputLayer,
    Layer,
)
from .convolution import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    SeparableConv2D,
)
from .core import (
    Dense,
    Dropout,
    Flatten,
    Reshape,
)
from .feedback import Feedback
from .merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from .normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
)
from .pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from .recurrent import GRU, LSTM, SimpleRNN
from .reshaping import (
    UpSampling1D,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)
from .sequence import (
    Bidirectional,
    Embedding,
    Masking,
    TimeDistributed,
    recurrent_weights,
)

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "Add",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Feedback",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "HardSigmoid",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "LogSoftmax",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "Mish",
    "Multiply",
    "PReLU",
    "ReLU",
    "Reshape",
    "SeparableConv2D",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Softsign",
    "Subtract",
    "Swish",
    "Tanh",
    "TimeDistributed",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "recurrent_weights",
]

KNOWN.update(
    (name, kind)
    for name, kind in globals().items()
    if name in __all__ and name != "Layer" and isinstance(kind, type)
)
