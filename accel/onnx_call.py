"""One operator of an ONNX model as its handler sees it: attributes, inputs, output."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accel.graph import IntArray, Node, Tensor
from accel.onnx_values import (
    Codes,
    Constant,
    FloatArray,
    Format,
    Host,
    OnnxError,
    Raw,
    Real,
    Same,
    Shape,
    Unknown,
    Value,
)
from accel.spec.config import AccelConfig
from accel.spec.numerics import limits

#: ONNX integer types of activations: bits, and what is taken off to make them signed.
CODE_TYPES = {"int8": (8, 0), "uint8": (8, 128), "int16": (16, 0), "uint16": (16, 1 << 15)}


@dataclass(eq=False)
class Scope:
    """The graph under construction: the values known so far, nodes, and the input tensor."""

    config: AccelConfig
    batch: int
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    input: Tensor | None = None


@dataclass(eq=False)
class Call:
    """An operator with its inputs (None: left out)."""

    scope: Scope
    node: onnx.NodeProto
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]

    @classmethod
    def of(cls, scope: Scope, node: onnx.NodeProto, inputs: Sequence[Value | None] | None = None,
           ) -> "Call":
        """The operator ``node``; ``scope`` knows its inputs, unless they are given."""
        attributes = {a.name: _decoded(onnx.helper.get_attribute_value(a)) for a in node.attribute}
        return cls(scope, node, attributes, inputs if inputs is not None else [
            scope.values[name] if name else None for name in node.input])

    @property
    def config(self) -> AccelConfig:
        """The configuration that the graph is for."""
        return self.scope.config

    @property
    def name(self) -> str:
        """Of its first output."""
        return str(self.node.output[0])

    def given(self, position: int) -> Value | None:
        """The input at ``position``, None if it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def require(self, **allowed: object) -> None:
        """Each keyword is an attribute and the only value that is supported, or None: any."""
        if faults := [f"{name} must be {value!r}, not {self.attributes[name]!r}"
                      for name, value in allowed.items()
                      if self.attributes.get(name, value) != value]:
            raise OnnxError("; ".join(faults))

    def constant(self, position: int, what: str) -> Constant:
        """The input at ``position``, which the file must hold."""
        value = self.given(position)
        if not isinstance(value, Constant):
            raise OnnxError(f"{what} must be a constant of the file")
        if not np.isfinite(value.real).all():
            raise OnnxError(f"{what} holds NaN or infinity")
        return value

    def array(self, position: int, what: str) -> npt.NDArray[Any]:
        """The elements of a constant."""
        return self.constant(position, what).data

    def scales(self, position: int) -> FloatArray:
        """Positive finite scales, one or one of each channel."""
        value = self.given(position)
        if not isinstance(value, Constant):
            raise OnnxError("the scale must be a constant of the file")
        scales = value.data.astype(np.float64).reshape(-1)
        if not (np.isfinite(scales) & (scales > 0)).all():
            wrong = scales[~(np.isfinite(scales) & (scales > 0))][0]
            raise OnnxError(f"a scale must be positive and finite, not {wrong}")
        return scales

    def format(self, scale: int, zero: int, omitted: int | None = None) -> Format:
        """Format of activations from the inputs at ``scale`` and ``zero``, as signed codes.

        ``omitted`` is the zero point where that input is left out.
        """
        scales = self.scales(scale)
        if scales.size > 1:
            raise OnnxError("an activation must have one scale, not one of each channel")
        if self.given(zero) is None:
            if omitted is None:
                raise OnnxError("the zero point must be given")
            return float(scales[0]), omitted
        point = self.array(zero, "the zero point")
        kind, bits = point.dtype.name, self.config.act_bits
        if kind not in CODE_TYPES or CODE_TYPES[kind][0] != bits or point.size > 1:
            raise OnnxError(f"codes are {kind}, but config {self.config.name!r} has activations of "
                            f"{bits} bits")
        return float(scales[0]), int(point.reshape(-1)[0]) - CODE_TYPES[kind][1]

    def quantized(self, position: int, scale: int, zero: int, axis: int) -> Constant:
        """A constant with its scales and zero points, at three inputs."""
        zeros = self.array(zero, "the zero point").astype(np.int64) if self.given(zero) else None
        data = self.array(position, "a quantized constant")
        return Constant(data, self.scales(scale), zeros, axis % max(data.ndim, 1))

    def codes(self, position: int, scale: int, zero: int) -> Codes:
        """Stored codes whose format stands at two other inputs."""
        value, omitted = self.given(position), None
        if isinstance(value, Raw):
            omitted = value.zero
        elif isinstance(value, Codes) and value.tensor.zero_point in {
                0, limits(self.config.act_bits)[0]}:
            omitted = value.tensor.zero_point       # 0, of int8 or of uint8
        return self.read(value, self.format(scale, zero, omitted))

    def read(self, value: Value | None, form: Format) -> Codes:
        """``value`` as codes in format ``form``, which the network's input takes on."""
        if isinstance(value, Raw):
            return self._input(value, form)
        if not isinstance(value, Codes):
            raise OnnxError("its input must be quantized")
        if (value.tensor.scale, value.tensor.zero_point) != form:
            raise OnnxError(f"reads {value.tensor.name!r} with scale and zero point {form}, which "
                            f"was written with {(value.tensor.scale, value.tensor.zero_point)}")
        return value

    def _input(self, value: Raw, form: Format) -> Codes:
        tensor = Tensor(value.name, value.shape, *form)
        known = self.scope.input or tensor
        if tensor != known:
            raise OnnxError(f"reads the input with scale and zero point {form}, another operator "
                            f"with {(known.scale, known.zero_point)}")
        self.scope.input = known
        return Codes(known, value.index)

    def real(self, position: int) -> Real:
        """A value between DequantizeLinear and QuantizeLinear."""
        value = self.given(position)
        if isinstance(value, Real):
            return value
        raise OnnxError("its input must be quantized, by a QuantizeLinear and DequantizeLinear "
                        "before it")

    def stored(self, position: int) -> Codes:
        """A value as codes of a tensor: it must have a format."""
        return self.store(self.real(position), f"{self.name}.input{position}")

    def store(self, real: Real, name: str) -> Codes:
        """Codes of ``real``, in the format that its operation must have."""
        if real.operation.format is None:
            raise OnnxError("its input must be quantized, by a QuantizeLinear and DequantizeLinear "
                            "behind the operator that computes it")
        tensor, nodes = real.quantized(name, real.operation.format, self.config)
        self.scope.nodes += nodes
        return Codes(tensor, real.index, real.border)

    def write(self, real: Real, form: Format) -> Codes:
        """Codes of ``real`` as the output of this operator."""
        tensor, nodes = real.quantized(self.name, form, self.config)
        self.scope.nodes += nodes
        return Codes(tensor, real.index, real.border)


def image(codes: Codes) -> Tensor:
    """The tensor, if ONNX sees it as (channels, height, width) too."""
    if codes.index.shape != codes.tensor.shape or not natural(codes.index):
        raise OnnxError(f"needs a tensor (channels, height, width), but reads {codes.index.shape}, "
                        f"which is {codes.tensor.shape} in another order or shape")
    return codes.tensor


def natural(index: IntArray) -> bool:
    """Whether elements stand in memory as ONNX sees them."""
    return bool(np.array_equal(index.reshape(-1), np.arange(index.size)))


def indices(shape: Shape, seen: Sequence[int] | None = None) -> IntArray:
    """Index of a tensor that ONNX sees as ``seen`` (``shape`` unless given)."""
    return np.arange(int(np.prod(shape))).reshape(shape if seen is None else seen)


def shape_of(value: Value | None) -> str:
    """For messages."""
    if isinstance(value, Constant):
        return str(value.data.shape)
    if isinstance(value, Codes | Raw | Real | Host):
        return f"(n, {', '.join(map(str, value.index.shape))})"
    return "nothing" if value is None else "?"


def known(values: Sequence[Value | None]) -> bool:
    """Whether none comes from an operator at fault."""
    return not any(isinstance(value, Unknown) for value in values)


def has_border(value: Value | None) -> bool:
    """Whether zeros stand around the tensor that ``value`` is stored in."""
    return isinstance(value, Codes | Real) and any(value.border)


def same_values(codes: Codes) -> Real:
    """What DequantizeLinear makes of codes."""
    return Real(Same(codes.tensor), codes.index, border=codes.border)


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
