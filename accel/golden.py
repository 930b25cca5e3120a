"""The integer graph in torch int64, layer by layer: what every implementation must equal.

Written from the definitions of `accel.spec.numerics` and not by calling it, and apart from
`accel.emulate`, so that a mistake must be made twice to go unseen.
"""
import torch
from torch.nn import functional

from accel import graph
from accel.circuits.store import truth_table
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig

#: Images worked on at once; bounds the memory of a layer's windows.
CHUNK = 20
#: Integers below this, and their sums and products in any order, are exact in float64.
EXACT = 1 << 53


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
        read = [tensors[source.name] for source in node.inputs]
        tensors[node.output.name] = compute(node, read, config)
    return tensors


def compute(node: graph.Node, read: list[torch.Tensor], config: AccelConfig) -> torch.Tensor:
    """Output of ``node`` whose inputs hold the codes ``read``."""
    x = read[0]
    if isinstance(node, graph.Conv2d):
        return _convolve(node, x, config)
    if isinstance(node, graph.Add):
        return _add(node, x, read[1], config)
    if isinstance(node, graph.Concat):
        return torch.cat(read, dim=1)
    if isinstance(node, graph.Clamp):
        return x.clamp(node.low, node.high)
    if isinstance(node, graph.MaxPool2d):
        padded = _pad(x, node.padding, -(1 << (config.act_bits - 1)))
        rows = padded.unfold(2, node.kernel[0], node.stride[0])
        return rows.unfold(3, node.kernel[1], node.stride[1]).amax((-1, -2))
    if node.function == "relu":
        return x.clamp(min=node.input.zero_point)
    return _look_up(node, x, config)


def _pad(x: torch.Tensor, padding: graph.Padding, value: int) -> torch.Tensor:
    top, left, bottom, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value)


def _convolve(node: graph.Conv2d, x: torch.Tensor, config: AccelConfig) -> torch.Tensor:
    padded = _pad(x, node.padding, node.input.zero_point)
    sums = _distances if node.operation is Operation.DISTANCE else _products
    total = sums(node, padded, 1 << (config.act_bits - 1))
    bias, multiplier, shift = (torch.as_tensor(array).view(-1, 1, 1)
                               for array in (node.bias, node.multiplier, node.shift))
    offset = node.output.zero_point if node.offset is None else node.offset
    return requantize(total + bias, multiplier, shift, offset, config.act_bits,
                      config.rounding)


def _products(node: graph.Conv2d, padded: torch.Tensor, largest: int) -> torch.Tensor:
    """Sums of products of weights and codes up to ``largest``."""
    most = int(abs(node.weight).sum(axis=(1, 2, 3)).max()) * largest
    assert most < EXACT, f"{node.name}: float64 does not hold a sum of {most}"
    total = functional.conv2d(padded.double(), torch.as_tensor(node.weight).double(),
                              stride=node.stride, dilation=node.dilation, groups=node.groups)
    return total.long()


def _distances(node: graph.Conv2d, padded: torch.Tensor, largest: int) -> torch.Tensor:
    """Minus the sums of distances between weights and codes up to ``largest``, tap by tap."""
    # int32 is several times as fast, and holds the sums of all but huge kernels of wide codes
    most = int(abs(node.weight).max() + largest) * node.weight[0].size
    number = torch.int32 if most < 1 << 31 else torch.int64
    padded, weight = padded.to(number), torch.as_tensor(node.weight).to(number)
    out, depth, height, width = weight.shape
    (down, right), (row_step, col_step) = node.stride, node.dilation
    rows, cols = node.output.shape[1:]
    # (n, groups, 1, depth, height, width) against each of a group's kernels
    padded = padded.reshape(len(padded), node.groups, 1, depth, *padded.shape[2:])
    weight = weight.reshape(node.groups, out // node.groups, depth, height, width)
    total = torch.zeros(len(padded), weight.shape[0], weight.shape[1], rows, cols, dtype=number)
    for channel in range(depth):
        for y in range(height):
            for x in range(width):
                seen = padded[:, :, :, channel,
                              y * row_step:y * row_step + (rows - 1) * down + 1:down,
                              x * col_step:x * col_step + (cols - 1) * right + 1:right]
                total -= (seen - weight[:, :, channel, y, x, None, None]).abs()
    return total.flatten(1, 2).long()


def _add(node: graph.Add, one: torch.Tensor, two: torch.Tensor, config: AccelConfig,
         ) -> torch.Tensor:
    """`graph.Add`; ``tflite`` as the int8 kernel ADD: 20 bits of fraction before any scaling."""
    terms = [x - source.zero_point for x, source in zip((one, two), node.inputs, strict=True)]
    if config.rounding == "tflite":
        scaled = [_multiply_by_quantized(term * 2 ** 20, torch.tensor(multiplier),
                                         torch.tensor(shift))
                  for term, multiplier, shift in zip(terms, node.multipliers, node.shifts,
                                                     strict=True)]
    else:
        scaled = [term * multiplier for term, multiplier in zip(terms, node.multipliers,
                                                                strict=True)]
    return requantize(scaled[0] + scaled[1], torch.tensor(node.multiplier),
                      torch.tensor(node.shift), node.output.zero_point, config.act_bits,
                      config.rounding)


def requantize(total: torch.Tensor, multiplier: torch.Tensor, shift: torch.Tensor,
               offset: int, bits: int, rounding: str = "single") -> torch.Tensor:
    """Accumulators (bias included) to activation codes of ``bits`` bits; int64 throughout.

    ``total * multiplier / 2**shift`` is rounded half away from zero (or as TensorFlow Lite
    rounds), ``offset`` is added, and the sum saturates.
    """
    if rounding == "tflite":
        scaled = _multiply_by_quantized(total, multiplier, shift)
    else:
        product = total * multiplier
        # Half away from zero: round the magnitude half up, then restore the sign.
        scaled = product.sign() * ((product.abs() + (1 << (shift - 1))) >> shift)
    half = 1 << (bits - 1)
    return (scaled + offset).clamp(-half, half - 1)


def _multiply_by_quantized(total: torch.Tensor, multiplier: torch.Tensor, shift: torch.Tensor,
                           ) -> torch.Tensor:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier with exponent ``31 - shift``, as gemmlowp.

    SaturatingRoundingDoublingHighMul divides towards zero, after a nudge with the product's sign;
    RoundingDivideByPOT compares the remainder with half the divisor.
    """
    exponent = 31 - shift
    product = (total << exponent.clamp(min=0)) * multiplier
    nudge = torch.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = torch.div(product + nudge, 1 << 31, rounding_mode="trunc")
    right = (-exponent).clamp(min=0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (high < 0).long()
    return (high >> right) + ((high & mask) > threshold).long()


def _look_up(node: graph.Activation, x: torch.Tensor, config: AccelConfig) -> torch.Tensor:
    spec = next(s for s in config.activation_specs if s.function == node.function)
    table = torch.tensor(truth_table(spec, config.act_bits))
    return table[x % len(table)]
