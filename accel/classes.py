"""What the host computes from the accelerator's output: probabilities, and the class itself."""
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


def log_softmax(values: FloatArray) -> FloatArray:
    """Logarithm of the share of each class, from logits ``(n, classes)``."""
    rest = values - values.max(axis=1, keepdims=True)
    result: FloatArray = rest - np.log(np.exp(rest).sum(axis=1, keepdims=True))
    return result


def softmax(values: FloatArray) -> FloatArray:
    """Share of each class, from logits ``(n, classes)``."""
    shares: FloatArray = np.exp(log_softmax(values))
    return shares


def argmax(values: FloatArray) -> FloatArray:
    """Number of the largest class, the first of equals, ``(n, 1)``."""
    largest: FloatArray = values.argmax(axis=1)[:, None].astype(np.float64)
    return largest


#: By their names in `layers.FloatGraph.host` and `graph.Graph.host`.
OPERATORS = {"softmax": softmax, "log_softmax": log_softmax, "argmax": argmax}


def apply(operators: Iterable[str], outputs: FloatArray) -> FloatArray:
    """``operators`` in order on ``outputs``, ``(n, ...)`` with one value per class.

    Without operators the outputs come back as they are.
    """
    for operator in operators:
        outputs = OPERATORS[operator](outputs.reshape(len(outputs), -1))
    return outputs
