"""A network's multiplying layers, replaced by layers without multiplications."""
import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from accel.nn.add import AddConv2d, AddLinear
from accel.nn.shift import Mode, ShiftConv2d, ShiftLinear, ShiftOptions, lowest_exponent
from accel.nn.shiftadd import ShiftAddConv2d, ShiftAddLinear
from accel.nn.window import Size

KINDS = ("shift", "add", "shiftadd")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LazyBatchNorm1d, nn.LazyBatchNorm2d)
Keep = str | Iterable[str] | Callable[[str, nn.Module], bool]


def convert(model: nn.Module, kind: str, *, bits: int = 4, mode: Mode = "ps", fixed: bool = False,
            add_kernel: Size | None = None, norm: bool = True, keep: Keep = ()) -> nn.Module:
    """A copy of ``model`` with each `nn.Conv2d` and `nn.Linear` replaced; ``model`` stays as it is.

    What is frozen stays frozen (``requires_grad``), in an add layer too, though it starts anew. A
    layer that is used in several places stays one, with a batch norm for each place. Layers that
    would lose something are refused unless kept: those of a derived class (lazy, parametrized or
    of your own), with hooks, or with parameters that another layer has too; and those within
    `nn.TransformerEncoderLayer`, which reads weights without calling their layers. The projection
    within `nn.MultiheadAttention`, which does so too, stays as it is.

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
        and itself; what is within them stays too. Published networks keep the first convolution
        and the last layer.

    Raises:
        TypeError: ``model`` is no module, or ``keep`` neither names nor a function.
        ValueError: the kind or an option is unknown, ``keep`` names no layer, or a layer cannot
            be replaced; the message names it.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, not {model!r}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose from {', '.join(KINDS)}")
    lowest_exponent(bits, mode)
    _check_copies(model)
    model = copy.deepcopy(model)
    shift: ShiftOptions = {"bits": bits, "mode": mode, "fixed": fixed}
    return _Conversion(model, kind, shift, add_kernel, norm, _kept(model, keep))(model, "", False)


def _check_copies(model: nn.Module) -> None:
    """Say what `copy.deepcopy` would not."""
    for name, module in model.named_modules():
        for key, value in [*vars(module).items(), *module.named_buffers(recurse=False)]:
            if isinstance(value, Tensor) and not value.is_leaf:
                raise ValueError(f"{_title(name, module)}: its {key} is computed from parameters, "
                                 "as by weight_norm or prune, and cannot be copied: make it one")


def _kept(model: nn.Module, keep: Keep) -> set[nn.Module]:
    """What stays, with all that is within."""
    places = list(model.named_modules(remove_duplicate=False))
    if callable(keep):
        return {part for place in places if keep(*place) for part in place[1].modules()}
    if not isinstance(keep, Iterable):
        raise TypeError(f"keep must be names of layers or a function, not {keep!r}")
    names = {keep} if isinstance(keep, str) else set(keep)
    if unknown := names - {name for name, _ in places}:
        raise ValueError(f"there is no layer {', '.join(sorted(map(str, unknown)))} to keep")
    return {part for name, module in places if name in names for part in module.modules()}


def _places(module: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """The children of ``module`` by name, and whether a batch norm follows them."""
    for (key, child), (_, following) in pairwise([*module._modules.items(), ("", None)]):
        if child is not None:
            yield key, child, isinstance(module, nn.Sequential) and isinstance(following, NORMS)


def _title(name: str, module: nn.Module) -> str:
    return f"layer {name or type(module).__name__}"


@dataclass
class _Conversion:
    """The options, and what has been replaced already: a layer may be used in several places."""

    model: InitVar[nn.Module]
    kind: str
    shift: ShiftOptions
    add_kernel: Size | None
    norm: bool
    kept: set[nn.Module]
    done: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def __post_init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        #: What no batch norm follows, in one place at least.
        self.bare = {model, *(child for module in modules
                              for _, child, normed in _places(module) if not normed)}
        #: What a fast path of torch computes from its weights, without a call.
        self.bypassed = {child for module in modules
                         if isinstance(module, nn.TransformerEncoderLayer)
                         for child in module.children()}
        #: In how many layers a parameter is.
        self.owners = Counter(parameter for module in modules
                              for parameter in module._parameters.values())

    def __call__(self, module: nn.Module, name: str, normed: bool) -> nn.Module:
        """What stands for ``module``, which a batch norm follows if ``normed``."""
        # of this class are layers of which nn.MultiheadAttention reads the weights alone
        if module in self.kept or isinstance(module, NonDynamicallyQuantizableLinear):
            return module
        if isinstance(module, nn.Conv2d | nn.Linear):
            if module not in self.done:
                self.done[module] = self._replaced(module, name)
            new = self.done[module]
            return new if normed or not self._norms() else _with_norm(new, module)
        if module not in self.done:
            self.done[module] = module
            for key, child, follows in _places(module):
                module._modules[key] = self(child, f"{name}.{key}" if name else key, follows)
        return module

    def _norms(self) -> bool:
        return self.norm and self.kind != "shift"

    def _replaced(self, layer: nn.Conv2d | nn.Linear, name: str) -> nn.Module:
        """The new layer for ``layer``."""
        # A batch norm has an offset of its own; shift layers keep what they start from.
        bias = layer.bias is not None and (
            self.kind == "shift" or (layer in self.bare and not self.norm))
        try:
            self._check(layer)
            new = (self._conv(layer, bias) if isinstance(layer, nn.Conv2d)
                   else self._linear(layer, bias))
        except ValueError as error:
            raise ValueError(f"{_title(name, layer)}: {error}") from None
        for key, parameter in new.named_parameters():
            old = layer.bias if key.endswith("bias") else layer.weight
            assert old is not None
            parameter.requires_grad_(parameter.requires_grad and old.requires_grad)
        return new.to(layer.weight.device, layer.weight.dtype).train(layer.training)

    def _check(self, layer: nn.Conv2d | nn.Linear) -> None:
        """A ValueError if a new layer would not do all that ``layer`` does."""
        kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
        if type(layer) is not kind:
            raise ValueError(f"a {type(layer).__name__} may do more than the nn.{kind.__name__} "
                             "that can be replaced: keep it, or make it one")
        if layer in self.bypassed:
            raise ValueError("nn.TransformerEncoderLayer reads its weights without calling it: "
                             "keep it")
        if (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
                or layer._backward_pre_hooks):
            raise ValueError("it has hooks (as of weight_norm or prune), which would be lost: "
                             "remove them, or keep it")
        if any(self.owners[parameter] > 1 for parameter in layer.parameters()):
            raise ValueError("it shares a parameter with another layer, from which it would come "
                             "apart: keep both")

    def _conv(self, layer: nn.Conv2d, bias: bool) -> nn.Module:
        if layer.padding_mode != "zeros":
            raise ValueError(f"padding is by zeros, not {layer.padding_mode!r}")
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                 layer.padding, layer.dilation, layer.groups, bias)
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


def _with_norm(new: nn.Module, layer: nn.Conv2d | nn.Linear) -> nn.Sequential:
    """``new``, which stands for ``layer``, and a batch norm behind it."""
    norm = (nn.BatchNorm2d(layer.out_channels) if isinstance(layer, nn.Conv2d)
            else nn.BatchNorm1d(layer.out_features))
    weight = layer.weight
    return nn.Sequential(new, norm.to(weight.device, weight.dtype)).train(layer.training)
