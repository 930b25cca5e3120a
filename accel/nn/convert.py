"""A network's multiplying layers, replaced by layers without multiplications."""
import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from torch import nn

from accel.nn.add import AddConv2d, AddLinear
from accel.nn.shift import Mode, ShiftConv2d, ShiftLinear, ShiftOptions, lowest_exponent
from accel.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear
from accel.nn.window import Size, pair

KINDS = ("shift", "add", "shiftadd")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LazyBatchNorm1d, nn.LazyBatchNorm2d)
Keep = Collection[str] | Callable[[str, nn.Module], bool]


def convert(model: nn.Module, kind: str, *, bits: int = 4, mode: Mode = "ps", fixed: bool = False,
            add_kernel: Size | None = None, norm: bool = True, keep: Keep = ()) -> nn.Module:
    """A copy of ``model`` with each `nn.Conv2d` and `nn.Linear` replaced; ``model`` stays as it is.

    Parameters
    ----------
    model
        Any module; a single layer too.
    kind
        ``shift``, ``add`` or ``shiftadd``. Shift layers start from the weights that they replace.
        Add layers start anew, as distances have little to do with products.
    bits, mode, fixed
        Of shift layers; see `accel.nn.shift`.
    add_kernel
        Of the add layers within ``shiftadd``; by default the convolution's own.
    norm
        Put a batch norm behind every add layer that is not followed by one in its `nn.Sequential`.
        Nothing is learnt without, as no add layer gives anything above 0. A model that calls
        its batch norms elsewhere than in a `nn.Sequential` needs ``norm=False``, and one that
        has none there gets them as part of the layer. Behind a linear layer it is a
        `nn.BatchNorm1d`, for (n, features).
    keep
        Names of layers that stay, as in ``model.named_modules()``, or whether one does by its name
        and itself. Published networks keep the first convolution and the last layer.

    Raises:
        ValueError: the kind or an option is unknown, ``keep`` names no layer, or a layer cannot
            be replaced; the message names it.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose from {', '.join(KINDS)}")
    lowest_exponent(bits, mode)
    if not callable(keep) and (unknown := set(keep) - dict(model.named_modules()).keys()):
        raise ValueError(f"there is no layer {', '.join(sorted(unknown))} to keep")
    shift: ShiftOptions = {"bits": bits, "mode": mode, "fixed": fixed}
    return _Conversion(kind, shift, add_kernel, norm, keep)(copy.deepcopy(model), "", False)


@dataclass
class _Conversion:
    """The options, and what has been replaced already: a layer may be used in several places."""

    kind: str
    shift: ShiftOptions
    add_kernel: Size | None
    norm: bool
    keep: Keep
    done: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def __call__(self, module: nn.Module, name: str, normed: bool) -> nn.Module:
        """What stands for ``module``, which a batch norm follows if ``normed``."""
        if module not in self.done:
            self.done[module] = module
            kept = self.keep(name, module) if callable(self.keep) else name in self.keep
            if kept:
                return module
            # Other classes, as within nn.MultiheadAttention, may be used by their weights alone.
            if type(module) is nn.Conv2d or type(module) is nn.Linear:
                self.done[module] = self._replaced(module, name, normed)
            else:
                self._children(module, name)
        return self.done[module]

    def _children(self, module: nn.Module, name: str) -> None:
        children = list(module._modules.items())
        for place, (key, child) in enumerate(children):
            if child is not None:
                following = children[place + 1][1] if place + 1 < len(children) else None
                normed = isinstance(module, nn.Sequential) and isinstance(following, NORMS)
                module._modules[key] = self(child, f"{name}.{key}" if name else key, normed)

    def _replaced(self, layer: nn.Conv2d | nn.Linear, name: str, normed: bool) -> nn.Module:
        """What stands for ``layer``: a new layer, with a batch norm behind if it has to be."""
        adds = self.norm and not normed and self.kind != "shift"
        # A batch norm has an offset of its own; shift layers keep what they start from.
        bias = layer.bias is not None and (self.kind == "shift" or not (adds or normed))
        try:
            new = (self._conv(layer, bias) if isinstance(layer, nn.Conv2d)
                   else self._linear(layer, bias))
        except ValueError as error:
            raise ValueError(f"layer {name or type(layer).__name__}: {error}") from None
        if adds:
            new = nn.Sequential(new, nn.BatchNorm2d(layer.out_channels)
                                if isinstance(layer, nn.Conv2d)
                                else nn.BatchNorm1d(layer.out_features))
        return new.to(layer.weight.device, layer.weight.dtype).train(layer.training)

    def _conv(self, layer: nn.Conv2d, bias: bool) -> nn.Module:
        if layer.padding_mode != "zeros":
            raise ValueError(f"padding is by zeros, not {layer.padding_mode!r}")
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                 _padding(layer), layer.dilation, layer.groups, bias)
        if self.kind == "shift":
            return ShiftConv2d(*shape, **self.shift).take(layer)
        if self.kind == "add":
            return AddConv2d(*shape)
        both = ShiftAddConv2d(*shape, add_kernel=self.add_kernel, **self.shift)
        both.shift.take(layer)
        return both

    def _linear(self, layer: nn.Linear, bias: bool) -> nn.Module:
        shape = layer.in_features, layer.out_features, bias
        if self.kind == "shift":
            return ShiftLinear(*shape, **self.shift).take(layer)
        if self.kind == "add":
            return AddLinear(*shape)
        both = ShiftAddLinear(*shape, **self.shift)
        both.shift.take(layer)
        return both


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    """Rows above and below, columns left and right."""
    if not isinstance(layer.padding, str):
        return pair(layer.padding)
    if layer.padding == "valid":
        return 0, 0
    height, width = (spread * (taps - 1) for spread, taps in
                     zip(layer.dilation, layer.kernel_size, strict=True))
    if height % 2 or width % 2:
        raise ValueError(f"padding 'same' of the kernel {layer.kernel_size} is not the same on "
                         "both sides")
    return height // 2, width // 2
