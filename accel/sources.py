"""What commands are given as MODEL and as arrays: to the integer graph."""
import argparse
import runpy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy

from accel.graph import Graph
from accel.networks import NETWORKS
from accel.onnx_model import import_onnx
from accel.pretrained import calibrate
from accel.quantize import quantize
from accel.spec.config import AccelConfig
from accel.spec.errors import InputError


def add_model(command: argparse.ArgumentParser, also: str = "") -> None:
    """The arguments that `load_graph` takes; ``also`` says what else MODEL may be."""
    command.add_argument("model", help=f"{', '.join(NETWORKS)}, or FILE.onnx, quantized, or "
                         "FILE.py:FUNCTION, a function without arguments that returns a torch "
                         f"module{also}")
    command.add_argument("--calibration", type=Path, help="float images (n, c, h, w) as .npy; "
                         "needed with FILE.py:FUNCTION, and for nothing else")


def load_graph(model: str, calibration: Path | None, config: AccelConfig) -> Graph:
    """Integer graph of MODEL for ``config``; `InputError` for what is none."""
    if model in NETWORKS or model.endswith(".onnx"):
        if calibration is not None:
            raise InputError(f"--calibration is for FILE.py:FUNCTION, not for {model}")
        return calibrate(model, config)[1] if model in NETWORKS else import_onnx(model, config)
    module = _load_model(model)
    if calibration is None:
        raise InputError(f"{model} needs --calibration FILE.npy")
    images = torch.from_numpy(load_array(calibration))
    return quantize(module, [images], config, model.split(":")[-1])


def load_array(path: Path) -> npt.NDArray[np.generic]:
    """The numbers in an .npy file, in the machine's byte order."""
    try:
        with path.open("rb") as file:
            array = npy.read_array(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read array {path}: {error}") from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InputError(f"{path}: must hold integers or floats of at most 64 bits, not "
                         f"{array.dtype}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _load_model(text: str) -> torch.nn.Module:
    file, _, function = text.partition(":")
    if not file.endswith(".py") or not function:
        raise InputError(f"MODEL must be one of {', '.join(NETWORKS)}, FILE.onnx or "
                         f"FILE.py:FUNCTION, not {text!r}")
    try:
        model = runpy.run_path(file)[function]()
    except Exception as error:      # whatever the user's own code raises
        raise InputError(f"cannot load model {text}: {type(error).__name__}: {error}") from None
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"{text} must return a torch.nn.Module, not {type(model).__name__}")
    return model
