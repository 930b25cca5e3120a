"""Networks that do not multiply, whole, on RTL: outputs and stored tensors equal golden."""
from dataclasses import replace

import numpy as np
import pytest

from accel.pretrained import prepare
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from sim.native import NativeDevice

#: Sizes with which a 4 x 4 array holds ResNet-20's tensors and streams its weights.
LARGE = replace(PRESETS["tiny-shiftadd"], name="large-shiftadd", act_depth=4096, acc_depth=1024,
                out_depth=1024, weight_depth=8192, offset_depth=2048, param_depth=2048,
                mem_depth=1 << 18, instruction_depth=16384)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "names"), [
    (PRESETS["tiny-add"], ["cnn-add"]),
    (LARGE, ["cnn-shift", "cnn-shiftadd", "cnn-pruned", "resnet8-shiftadd", "resnet20-shiftadd"]),
], ids=lambda given: getattr(given, "name", None))
def test_rtl_equals_golden(config: AccelConfig, names: list[str]) -> None:
    device = NativeDevice(config)
    for name in names:
        keep = name != "resnet20-shiftadd"      # its tensors take each other's place
        ready = prepare(name, config, 1, keep_tensors=keep)
        assert len(np.unique(ready.expected)) > 5
        device.load(ready.program)
        np.testing.assert_array_equal(device.run(ready.codes), ready.expected)
        for tensor in ready.program.tensors if keep else ():
            np.testing.assert_array_equal(device.read(tensor), ready.tensors[tensor][-1])
