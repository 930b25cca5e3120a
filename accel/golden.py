"""The integer graph in torch int64, layer by layer: what every implementation must equal.

Written from the definitions of `accel.spec.numerics` and not by calling it, and apart from
`accel.emulate`, so that a mistake must be made twice to go unseen.
"""
import torch
from torch.nn import functional

from accel import graph
from accel.circuits.store import truth_table
from accel.spec.config import AccelConfig

#: Images worked on at once; bounds the memory of a layer's windows.
CHUNK = 100


def run(network: graph.Graph, codes: graph.IntArray | torch.Tensor, config: AccelConfig,
        ) -> dict[str, torch.Tensor]:
    """Every tensor of the network by name, the input included: int64 codes (n, *shape).

    ``codes`` are the input's, (n, channels, height, width); ``ValueError`` if their shape or
    range is wrong.
    """
    images = torch.as_tensor(codes)
    half = 1 << (config.act_bits - 1)
    if images.dtype != torch.int64 or images.shape[1:] != network.input.shape:
        raise ValueError(f"input codes must be int64 (n, {', '.join(map(str, network.input.shape))}"
                         f"), not {images.dtype} {tuple(images.shape)}")
    if images.numel() and (images.min() < -half or images.max() >= half):
        raise ValueError(f"input codes must be in {-half}..{half - 1}, not "
                         f"{int(images.min())}..{int(images.max())}")
    chunks = [_run_chunk(network, chunk, config) for chunk in torch.split(images, CHUNK)]
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def top1(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images (0..1) whose largest output stands at their label.

    ``outputs`` (n, classes, ...) are logits or their codes, ``labels`` (n,); the first of equal
    outputs counts.
    """
    return float((outputs.flatten(1).argmax(1) == labels).double().mean())


def _run_chunk(network: graph.Graph, images: torch.Tensor, config: AccelConfig,
               ) -> dict[str, torch.Tensor]:
    tensors = {network.input.name: images}
    for node in network.nodes:
        x = tensors[node.input.name]
        if isinstance(node, graph.Conv2d):
            y = _convolve(node, x, config.act_bits)
        elif isinstance(node, graph.MaxPool2d):
            y = _windows(x, node.kernel, node.stride).amax((-1, -2))
        elif node.function == "relu":
            y = x.clamp(min=node.input.zero_point)
        else:
            y = _look_up(node, x, config)
        tensors[node.output.name] = y
    return tensors


def _windows(x: torch.Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> torch.Tensor:
    """(n, c, h, w) to (n, c, out_h, out_w, kernel_h, kernel_w), without a copy."""
    return x.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1])


def _convolve(node: graph.Conv2d, x: torch.Tensor, act_bits: int) -> torch.Tensor:
    (pad_h, pad_w), kernel = node.padding, (node.weight.shape[2], node.weight.shape[3])
    padded = functional.pad(x, (pad_w, pad_w, pad_h, pad_h), value=node.input.zero_point)
    windows = _windows(padded, kernel, node.stride).permute(0, 2, 3, 1, 4, 5)
    weight = torch.as_tensor(node.weight).flatten(1)
    total = windows.flatten(3) @ weight.T + torch.as_tensor(node.bias)
    code = requantize(total, torch.as_tensor(node.multiplier), torch.as_tensor(node.shift),
                      node.output.zero_point, act_bits)
    return code.permute(0, 3, 1, 2).contiguous()


def requantize(total: torch.Tensor, multiplier: torch.Tensor, shift: torch.Tensor,
               zero_point: int, bits: int) -> torch.Tensor:
    """Accumulators (bias included) to activation codes of ``bits`` bits; int64 throughout.

    ``total * multiplier / 2**shift`` is rounded half away from zero, the zero point is added,
    and the sum saturates. ``multiplier`` and ``shift`` go with the last axis of ``total``.
    """
    product = total * multiplier
    # Half away from zero: round the magnitude half up, then restore the sign.
    magnitude = (product.abs() + (1 << (shift - 1))) >> shift
    half = 1 << (bits - 1)
    return (product.sign() * magnitude + zero_point).clamp(-half, half - 1)


def _look_up(node: graph.Activation, x: torch.Tensor, config: AccelConfig) -> torch.Tensor:
    spec = next(s for s in config.activation_specs if s.function == node.function)
    table = torch.tensor(truth_table(spec, config.act_bits))
    return table[x % len(table)]
