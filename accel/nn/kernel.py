"""The loops of ``distance.cpp`` on torch tensors; it is compiled once for each CPU."""
import ctypes
import platform
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from accel.compiled import CompilerError, compiled

SOURCE = Path(__file__).with_name("distance.cpp")
#: No value of a training run is a signed zero that matters; a limit of NaN may be any number,
#: since y and the weights' gradient are NaN as well.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-signed-zeros",
         "-ffinite-math-only", "-shared", "-fPIC")


def distance(x: Tensor, weight: Tensor, out: Sequence[int], stride: Sequence[int],
             dilation: Sequence[int]) -> Tensor:
    """``-sum |x - w|`` of shape ``out``, on `library`; ``x`` is padded, all are float32."""
    y = x.new_empty(tuple(out))
    _call("distance", x.contiguous(), weight.contiguous(), y, stride=stride, dilation=dilation)
    return y


def pull(x: Tensor, weight: Tensor, grad: Tensor, stride: Sequence[int],
         dilation: Sequence[int]) -> Tensor:
    """``sum clip(w - x, -1, 1) * grad``, of the shape of ``x``, which is padded."""
    slope = torch.zeros_like(x, memory_format=torch.contiguous_format)
    _call("pull", x.contiguous(), weight.contiguous(), grad.contiguous(), slope,
          stride=stride, dilation=dilation)
    return slope


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops; None, with a warning, where they cannot be compiled or loaded."""
    # torch makes its own OpenMP global, so that these loops run on torch's threads. A second pool
    # would have to share the cores with torch's idle threads, which wait busily.
    try:
        return ctypes.CDLL(str(compiled(SOURCE, "nn/distance", FLAGS, machine=_cpu())))
    except (CompilerError, OSError) as error:
        warnings.warn(f"{error}: add layers are computed by torch, many times slower", stacklevel=2)
        return None


def _cpu() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    first = {line.split(":")[0].strip(): line for line in reversed(lines)}
    keys = "vendor_id", "cpu family", "model", "model name", "flags", "Features"
    return "\n".join([platform.machine(), platform.processor(), *(first.get(k, "") for k in keys)])


def _call(name: str, x: Tensor, weight: Tensor, *others: Tensor, stride: Sequence[int],
          dilation: Sequence[int]) -> None:
    """Call the loop ``name`` on contiguous tensors."""
    loops = library()
    assert loops
    outputs, _, *kernel = weight.shape
    sizes = *x.shape, outputs, *kernel, *stride, *dilation
    shape = (ctypes.c_long * len(sizes))(*sizes)
    getattr(loops, name)(shape, ctypes.c_int(torch.get_num_threads()),
                         *(ctypes.c_void_p(t.data_ptr()) for t in (x, weight, *others)))
