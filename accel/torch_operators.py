"""What each ATen operator becomes in the float graph: the table `HANDLERS` and its functions.

A handler returns the `Value` that its operator's result is: the output of a new layer or, where
the operator only gives memory another shape, the value that it read.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.fx import Node

from accel.graph import NO_PADDING, Padding
from accel.layers import (
    ACTIVATIONS,
    FloatActivation,
    FloatAdd,
    FloatAvgPool,
    FloatClamp,
    FloatConcat,
    FloatConv,
    FloatDistance,
    FloatMaxPool,
    Pair,
)
from accel.torch_call import IMAGES, Call, ModelError, Value, size_of, text

#: Parameters of the operators that have some, and the only values that circuits are made for.
PARAMETERS: dict[str, dict[str, object]] = {
    "elu": {"alpha": 1, "scale": 1, "input_scale": 1}, "gelu": {"approximate": "none"},
    "softplus": {"beta": 1, "threshold": 20}}


def _pair(value: Sequence[int] | int) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _around(padding: Sequence[int] | int) -> Padding:
    rows, cols = _pair(padding)
    return rows, cols, rows, cols


def _joined(one: Padding, two: Padding) -> Padding:
    return one[0] + two[0], one[1] + two[1], one[2] + two[2], one[3] + two[3]


def _require(**given: tuple[object, object]) -> None:
    """Each keyword is a parameter's value and the only value that is supported."""
    if faults := [f"{name} must be {allowed}, not {value}"
                  for name, (value, allowed) in given.items() if value != allowed]:
        raise ModelError("; ".join(faults))


def _conv(call: Call, x: Node, weight: Node, bias: Node | None = None,
          stride: Sequence[int] = (1, 1), padding: Sequence[int] | str = (0, 0),
          dilation: Sequence[int] = (1, 1), groups: int = 1) -> Value:
    value, (array, offset) = call.image(x, border=True), call.parameters(weight, bias)
    spread = _pair(dilation)
    if isinstance(padding, str):
        rows, cols = ((k - 1) * d if padding == "same" else 0
                      for k, d in zip(array.shape[2:], spread, strict=True))
        around = rows // 2, cols // 2, rows - rows // 2, cols - cols // 2
    else:
        around = _around(padding)
    return call.emit(FloatConv(call.name, (value.name,), array, offset, _pair(stride),
                               _joined(value.border, around), spread, groups))


def _add_conv(call: Call, x: Node, weight: Node, stride: Sequence[int], padding: Sequence[int],
              dilation: Sequence[int], *_: object) -> Value:
    """`accel.nn.AddConv2d`; `AddLinear` is one whose kernel covers what it reads."""
    (array,), size = call.stored([weight]), size_of(x)
    value, one = call.features(x, border=True), array.new_ones(len(array))
    if size[2:] == (1, 1) == array.shape[2:] and not any(padding):
        # features, whatever shape they came from, of which it makes a single position
        array, stride, dilation = array.reshape(len(array), *value.outer), (1, 1), (1, 1)
    else:
        value = call.image(x, border=True)
    return call.emit(FloatDistance(
        call.name, (value.name,), array, one, 0 * one, _pair(stride),
        _joined(value.border, _around(padding)), _pair(dilation)))


def _linear(call: Call, x: Node, weight: Node, bias: Node | None = None) -> Value:
    value, (array, offset) = call.features(x), call.parameters(weight, bias)
    if len(size := size_of(x)) != 2:
        raise ModelError(f"Linear needs a flattened tensor (n, features), not {text(size[1:])}")
    kernel = array.reshape(len(array), *value.shape)
    return call.emit(FloatConv(call.name, (value.name,), kernel, offset), (len(array), 1, 1))


def _batch_norm(call: Call, x: Node, weight: Node | None, bias: Node | None, mean: Node,
                variance: Node, training: bool, momentum: float, eps: float, *_: object) -> Value:
    """Folded into the convolution before it."""
    _require(training=(training, False))
    value = call.features(x)
    names = ["weight", "bias", "mean", "variance"]
    arrays = dict(zip(names, _stored_or_none(call, (weight, bias, mean, variance)), strict=True))
    if not value.name:
        return value        # of an operator that is refused already
    conv = call.scope.layers.get(value.name)
    if (not isinstance(conv, FloatConv | FloatDistance) or not call.scope.has_one_reader(value)
            or size_of(x)[1] != len(conv.bias)):
        raise ModelError("a batch norm must directly follow a Conv2d, Linear or add layer, as its "
                         "only reader, to be folded into it")
    assert arrays["mean"] is not None
    assert arrays["variance"] is not None
    scale = (arrays["variance"] + eps).rsqrt()
    if arrays["weight"] is not None:
        scale = scale * arrays["weight"]
    offset = (conv.bias - arrays["mean"]) * scale
    if arrays["bias"] is not None:
        offset = offset + arrays["bias"]
    call.scope.layers[conv.name] = (
        replace(conv, scale=conv.scale * scale, bias=offset) if isinstance(conv, FloatDistance)
        else replace(conv, weight=conv.weight * scale.view(-1, 1, 1, 1), bias=offset))
    return value


def _stored_or_none(call: Call, nodes: Sequence[Node | None]) -> list[torch.Tensor | None]:
    return [call.stored([node])[0] if node else None for node in nodes]


def _activation(call: Call, x: Node, *values: object, **named: object) -> Value:
    value, allowed = call.features(x), PARAMETERS.get(call.operator, {})
    given = dict(zip(allowed, values, strict=False)) | named
    _require(**{parameter: (value, allowed.get(parameter)) for parameter, value in given.items()})
    return call.emit(FloatActivation(call.name, (value.name,), call.operator), value.shape)


def _clamp(call: Call, x: Node, low: float | Node | None = None, high: float | Node | None = None,
           **named: float | Node | None) -> Value:
    """Of ``hardtanh`` and ``clamp``, whose limits have several names."""
    low = named.get("min_val", named.get("min", low))
    high = named.get("max_val", named.get("max", high))
    if isinstance(low, Node) or isinstance(high, Node):
        raise ModelError("its limits must be numbers")
    return _limit(call, x, -math.inf if low is None else low, math.inf if high is None else high)


def _limit(call: Call, x: Node, low: float, high: float) -> Value:
    value = call.features(x)
    if not low <= high:
        raise ModelError(f"its limits must rise, not be {low} and {high}")
    return call.emit(FloatClamp(call.name, (value.name,), low, high), value.shape)


def _relu6(call: Call, x: Node) -> Value:
    return _limit(call, x, 0.0, 6.0)


def _clamp_min(call: Call, x: Node, low: float) -> Value:
    return _limit(call, x, low, math.inf)


def _clamp_max(call: Call, x: Node, high: float) -> Value:
    return _limit(call, x, -math.inf, high)


def _max_pool(call: Call, x: Node, kernel: Sequence[int], stride: Sequence[int] = (),
              padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1),
              ceil_mode: bool = False) -> Value:
    value = call.image(x)
    _require(dilation=(_pair(dilation), (1, 1)), ceil_mode=(ceil_mode, False))
    return call.emit(FloatMaxPool(call.name, (value.name,), _pair(kernel), _pair(stride or kernel),
                                  _around(padding)))


def _avg_pool(call: Call, x: Node, kernel: Sequence[int], stride: Sequence[int] = (),
              padding: Sequence[int] = (0, 0), ceil_mode: bool = False,
              count_include_pad: bool = True, divisor_override: int | None = None) -> Value:
    value, around = call.image(x, border=True), _around(padding)
    _require(ceil_mode=(ceil_mode, False), divisor_override=(divisor_override, None),
             count_include_pad=(count_include_pad or around == NO_PADDING, True))
    return call.emit(FloatAvgPool(call.name, (value.name,), _pair(kernel), _pair(stride or kernel),
                                  _joined(value.border, around)))


def _adaptive_avg_pool(call: Call, x: Node, size: Sequence[int]) -> Value:
    value = call.image(x)
    windows = [(n // out, n % out) for n, out in zip(value.shape[1:], _pair(size), strict=True)]
    if any(rest for _, rest in windows):
        raise ModelError(f"height and width must divide evenly: {value.shape[1:]} into "
                         f"{_pair(size)}")
    kernel = windows[0][0], windows[1][0]
    return call.emit(FloatAvgPool(call.name, (value.name,), kernel, kernel))


def _mean(call: Call, x: Node, axes: Sequence[int] | None = None, keepdim: bool = False,
          dtype: object = None) -> Value:
    value, size = call.features(x), size_of(x)
    given = sorted(axis % len(size) for axis in axes or range(len(size)))
    if given != list(range(2, len(size))) or size[1] != value.shape[0]:
        raise ModelError("a mean must be over height and width, dim=(2, 3), not "
                         f"dim={axes} of {text(size[1:])}")
    kernel = value.shape[1], value.shape[2]
    return call.emit(FloatAvgPool(call.name, (value.name,), kernel, kernel),
                     (value.shape[0], 1, 1))


def _add(call: Call, x: object, y: object, alpha: float = 1) -> Value:
    _require(alpha=(alpha, 1))
    for array, other in ((x, y), (y, x)):
        if isinstance(array, Node) and array.name in call.scope.arrays:
            return _offset(call, other, call.stored([array])[0])
    one, two = call.features(x), call.features(y)
    assert isinstance(x, Node)
    assert isinstance(y, Node)
    if size_of(x) != size_of(y) or one.shape != two.shape:
        raise ModelError(f"adds tensors of two shapes, {text(size_of(x)[1:])} and "
                         f"{text(size_of(y)[1:])}")
    return call.emit(FloatAdd(call.name, (one.name, two.name)), one.shape)


def _offset(call: Call, x: object, constant: torch.Tensor) -> Value:
    """A stored number per channel, which becomes part of the bias before it."""
    value = call.features(x)
    assert isinstance(x, Node)
    conv, size = call.scope.layers.get(value.name), size_of(call.node)
    rows = constant.broadcast_to(size)[0].reshape(size[1], -1)
    if (not isinstance(conv, FloatConv | FloatDistance) or not call.scope.has_one_reader(value)
            or size != size_of(x) or len(rows) != len(conv.bias)
            or not torch.equal(rows, rows[:, :1].expand_as(rows))):
        raise ModelError("a constant can only be added to each channel of a Conv2d, Linear or add "
                         "layer, as its only reader")
    call.scope.layers[conv.name] = replace(conv, bias=conv.bias + rows[:, 0])
    return value


def _concat(call: Call, nodes: Sequence[Node], axis: int = 0) -> Value:
    values = [call.features(node) for node in nodes]
    if axis % len(size_of(call.node)) != 1 or len({value.shape[1:] for value in values}) > 1:
        raise ModelError("only channels can be concatenated, dim=1 of tensors of one height and "
                         f"width, not dim={axis} of "
                         f"{', '.join(text(value.shape) for value in values)}")
    shape = sum(value.shape[0] for value in values), *values[0].shape[1:]
    return call.emit(FloatConcat(call.name, tuple(value.name for value in values)), shape)


def _pad(call: Call, x: Node, amounts: Sequence[int], mode: str | float = "constant",
         value: float | None = None) -> Value:
    """Zeros around an image, for the layer that reads it."""
    if isinstance(mode, str):
        _require(mode=(mode, "constant"))
    else:
        value = mode        # of constant_pad_nd, which has no mode
    known = call.image(x, border=True)
    left, right, top, bottom, *others = *amounts, *[0] * (4 - len(amounts))
    if value or min(left, right, top, bottom) < 0 or any(others):
        raise ModelError("padding must be zeros around height and width, not "
                         f"{value or 0} by {list(amounts)}")
    return replace(known, border=_joined(known.border, (top, left, bottom, right)))


def _reshape(call: Call, x: Node, *_: object, **__: object) -> Value:
    """Another shape for the same memory; the image stays the first axis."""
    value, size = _read(call, x), size_of(call.node)
    if not value.host and (not size or size[0] != IMAGES
                           or math.prod(size[1:]) != math.prod(value.outer)):
        raise ModelError(f"each image must keep its row, but {IMAGES} images of shape "
                         f"{value.outer} become {size}")
    return value


def _rearrange(call: Call, x: Node, *args: object, **named: object) -> Value:
    """A transposition or slice that moves nothing, as its axes have length 1 or stay whole."""
    places = torch.arange(math.prod(size_of(x))).reshape(size_of(x))
    assert callable(call.node.target)
    moved: torch.Tensor = call.node.target(places, *args, **named)
    if not torch.equal(moved.flatten(), places.flatten()):
        raise ModelError(f"moves or drops values in memory, {text(size_of(x)[1:])} to "
                         f"{text(size_of(call.node)[1:])}; only axes of length 1 can be moved")
    return _reshape(call, x)


def _read(call: Call, x: Node) -> Value:
    """What ``x`` holds; the host's results too."""
    value = call.scope.values.get(x)
    return value if value and value.host else call.features(x, border=True)


def _convert(call: Call, x: Node, *_: object, **__: object) -> Value:
    value = _read(call, x)
    if not value.host and not call.node.meta["val"].is_floating_point():
        raise ModelError(f"converts to {call.node.meta['val'].dtype}")
    return value


def _dropout(call: Call, x: Node, probability: float, train: bool) -> Value:
    _require(training=(train, False))
    return call.features(x, border=True)


def _host(call: Call, x: Node, axis: int | None = None, *_: object, **__: object) -> Value:
    value = call.scope.values.get(x)
    value = value if value and value.host else call.features(x)
    if axis is None or axis % len(size_of(x)) != 1:
        raise ModelError(f"must be over the classes, dim=1, not dim={axis}")
    return replace(value, host=(*value.host, call.operator))


#: ATen operator -> kind in a layer's name, and what makes the layer.
HANDLERS: dict[str, tuple[str, Callable[..., Value]]] = {
    "conv2d": ("conv", _conv), "linear": ("linear", _linear), "add_conv2d": ("distance", _add_conv),
    "batch_norm": ("norm", _batch_norm),
    **{function: (function, _activation) for function in ACTIVATIONS},
    "hardtanh": ("clamp", _clamp), "clamp": ("clamp", _clamp), "relu6": ("clamp", _relu6),
    "clamp_min": ("clamp", _clamp_min), "clamp_max": ("clamp", _clamp_max),
    "max_pool2d": ("pool", _max_pool), "avg_pool2d": ("mean", _avg_pool),
    "adaptive_avg_pool2d": ("mean", _adaptive_avg_pool), "mean": ("mean", _mean),
    "add": ("add", _add), "cat": ("concat", _concat), "concat": ("concat", _concat),
    "pad": ("pad", _pad), "constant_pad_nd": ("pad", _pad),
    **{operator: (operator, _reshape) for operator in (
        "flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous", "clone",
        "detach", "alias")},
    **{operator: (operator, _rearrange) for operator in (
        "permute", "transpose", "numpy_T", "t", "slice", "expand")},
    "to": ("to", _convert),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
                    ("dropout", _dropout)),
    **{operator: (operator, _host) for operator in ("softmax", "log_softmax", "argmax")}}
