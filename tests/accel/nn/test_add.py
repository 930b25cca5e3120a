"""Add layers: values and gradients of the compiled loops and of torch's, against windows."""
import math
import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accel.nn import AddConv2d, AddLinear, ShiftConv2d, add_conv2d, bench, kernel
from accel.nn.add import add_conv2d_grad_input

#: Channels in and out, size, kernel, stride, padding, dilation.
CASES = {
    "plain": (3, 7, (9, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "strided": (5, 4, (8, 8), (3, 2), (2, 2), (1, 0), (1, 1)),
    "dilated": (2, 6, (11, 9), (3, 3), (1, 2), (2, 3), (2, 1)),
    "single": (1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    "pointwise": (6, 5, (5, 4), (1, 1), (1, 1), (0, 0), (1, 1)),
    "pointwise-strided": (6, 3, (7, 9), (1, 1), (3, 2), (0, 0), (1, 1)),
    "wide": (4, 8, (3, 70), (2, 5), (1, 1), (1, 2), (1, 1)),
    "many taps": (131, 9, (4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    "all padding": (2, 3, (1, 1), (3, 3), (1, 1), (3, 3), (1, 1)),
}
DTYPES = {torch.float32: 2e-5, torch.float64: 1e-12}


def oracle(x: Tensor, weight: Tensor, grad: Tensor, stride, padding, dilation) -> list[Tensor]:
    """Output, gradient of ``x`` and unscaled gradient of ``weight``, in float64."""
    x, weight, grad = x.double(), weight.double(), grad.double().flatten(2)
    window = weight.shape[2:], dilation, padding, stride
    columns = functional.unfold(x, *window)[:, None]                # n, 1, taps, positions
    gap = columns - weight.flatten(1)[None, :, :, None]             # n, out, taps, positions
    pulled = (-gap).clamp(-1, 1) * grad[:, :, None]
    return [-gap.abs().sum(2), functional.fold(pulled.sum(1), x.shape[2:], *window),
            (gap * grad[:, :, None]).sum((0, 3)).reshape(weight.shape)]


def differ(got: Tensor, expected: Tensor) -> float:
    """The largest error, as a multiple of the largest value."""
    expected = expected.reshape(got.shape)
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_values_and_gradients(case: str, dtype: torch.dtype, threads: int, scale: float) -> None:
    inputs, outputs, size, taps, stride, padding, dilation = CASES[case]
    torch.manual_seed(3)
    layer = AddConv2d(inputs, outputs, taps, stride, padding, dilation).to(dtype)
    x = (scale * torch.randn(5, inputs, *size, dtype=dtype)).requires_grad_()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        y = layer(x)
        grad = torch.randn_like(y)
        y.backward(grad)
    finally:
        torch.set_num_threads(before)
    expected = oracle(x.detach(), layer.weight.detach(), grad, stride, padding, dilation)
    scaled = expected[2] * 0.2 * math.sqrt(expected[2].numel()) / expected[2].norm()
    for got, wanted in zip((y, x.grad, layer.weight.grad), (*expected[:2], scaled), strict=True):
        assert got.dtype == dtype
        assert differ(got.detach(), wanted) < DTYPES[dtype]


def test_both_ways_to_compute_are_used() -> None:
    assert kernel.library() is not None
    x, weight = torch.rand(1, 2, 5, 5), torch.rand(3, 2, 3, 3)
    single = add_conv2d(x, weight, [1, 1], [0, 0], [1, 1], 0.2)
    double = add_conv2d(x.double(), weight.double(), [1, 1], [0, 0], [1, 1], 0.2)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert 0 < (single - double).abs().max() < 1e-5
    half = add_conv2d(x.bfloat16(), weight.bfloat16(), [1, 1], [0, 0], [1, 1], 0.2)
    assert half.dtype == torch.bfloat16
    assert (half - double).abs().max() < 0.1


def test_padding_counts() -> None:
    layer = AddConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        layer.weight.fill_(2)
    y = layer(torch.full((1, 1, 1, 1), 2.0))
    assert y.item() == -16      # the tap in the middle is met, eight see zeros


@pytest.mark.parametrize("batch", [0, 1, 200])
def test_any_batch_and_any_layout(batch: int) -> None:
    torch.manual_seed(1)
    layer = AddConv2d(3, 4, 3, padding=1)
    x = torch.randn(batch, 3, 6, 5)
    y = layer(x)
    assert y.shape == (batch, 4, 6, 5)
    strided = x.to(memory_format=torch.channels_last).requires_grad_()
    again = layer(strided)
    assert torch.equal(y, again)
    again.sum().backward()      # its gradient is a single number, expanded
    expected = oracle(x, layer.weight.detach(), torch.ones_like(y), (1, 1), (1, 1), (1, 1))
    assert torch.allclose(strided.grad, expected[1].float(), atol=1e-5)


def test_extremes() -> None:
    layer = AddConv2d(2, 3, 2)
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, 0, 0], x[0, 1, 2, 2] = math.nan, math.inf
    y = layer(x)
    assert y[0, :, 0, 0].isnan().all()
    assert (y[0, :, 1, 1] == -math.inf).all()
    assert y[0, :, 0, 1].isfinite().all()
    # no gradient at all: no division by its length
    z = torch.ones(1, 2, 3, 3)
    layer(z).backward(torch.zeros(1, 3, 2, 2))
    assert torch.equal(layer.weight.grad, torch.zeros_like(layer.weight))


@pytest.mark.parametrize("eta", [0.2, 1.5])
def test_the_learning_rate_is_scaled_by_layer(eta: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)
    for layer, size in ((AddConv2d(3, 5, 3, eta=eta), x), (AddLinear(6, 7, eta=eta), x)):
        layer(size).sum().backward()
        assert layer.weight.grad.square().mean().sqrt().item() == pytest.approx(eta)


@pytest.mark.parametrize("shape", [(4, 70), (2, 3, 70), (70,)], ids=str)
def test_linear(shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    layer = AddLinear(70, 6, bias=True)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(6.0))
    x = torch.randn(shape)
    expected = -(x[..., None, :] - layer.weight).abs().sum(-1) + torch.arange(6.0)
    assert torch.allclose(layer(x), expected, atol=1e-4)


def test_bias_of_a_convolution() -> None:
    layer = AddConv2d(2, 3, 1, bias=True)
    x = torch.randn(2, 2, 2, 2)
    without = layer(x)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(layer(x), without + torch.tensor([1.0, 2.0, 4.0])[:, None, None])


def test_large_inputs_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(5, 2, 6, 6).double(), torch.randn(3, 2, 3, 3).double()
    whole = add_conv2d(x, weight, [1, 1], [1, 1], [1, 1], 0.2)
    monkeypatch.setattr("accel.nn.add.CHUNK", 1300)     # two images
    assert torch.equal(add_conv2d(x, weight, [1, 1], [1, 1], [1, 1], 0.2), whole)


@pytest.mark.parametrize("layer", [AddConv2d(2, 3, 3, 2, 1), AddLinear(4, 3, bias=True)],
                         ids=lambda layer: type(layer).__name__)
def test_export_keeps_one_operator(layer: torch.nn.Module) -> None:
    x = torch.randn(2, 2, 5, 4)
    program = torch.export.export(layer.eval(), (x,))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets.count("systolith.add_conv2d.default") == 1
    assert torch.equal(program.module()(x), layer(x))


def test_operators_are_registered_well() -> None:
    x = torch.randn(2, 2, 5, 4, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    torch.library.opcheck(add_conv2d, (x, weight, [2, 1], [1, 0], [1, 1], 0.2))


def test_operators_agree_about_layouts() -> None:
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64).to(memory_format=torch.channels_last)
    weight, grad = torch.randn(2, 3, 3, 3).double(), torch.randn(2, 2, 3, 2).double()
    torch.library.opcheck(add_conv2d_grad_input, (x, weight, grad, [1, 1], [0, 0], [1, 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gradients_of_half_types_do_not_overflow(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    layer, x = AddConv2d(16, 8, 3).to(dtype), torch.randn(4, 16, 12, 12).to(dtype)
    y = layer(x)
    grad = (2000 * torch.randn(y.shape)).to(dtype)
    y.backward(grad)
    expected = oracle(x, layer.weight.detach(), grad, (1, 1), (0, 0), (1, 1))[2]
    expected *= 0.2 * math.sqrt(expected.numel()) / expected.norm()
    assert layer.weight.grad.dtype == dtype
    assert differ(layer.weight.grad, expected) < 0.01


@pytest.mark.parametrize(("padding", "kernel_size", "dilation"), [
    ("same", (3, 5), (2, 1)), ("valid", 2, 1), ("same", 1, 1)])
def test_padding_by_name(padding: str, kernel_size, dilation) -> None:
    x, options = torch.randn(1, 2, 7, 8), {"padding": padding, "dilation": dilation}
    assert (AddConv2d(2, 3, kernel_size, **options)(x).shape
            == nn.Conv2d(2, 3, kernel_size, **options)(x).shape)


@pytest.mark.parametrize(("options", "message"), [
    ({"kernel_size": 3.0}, "kernel_size must be one or two whole numbers of at least 1, not 3.0"),
    ({"kernel_size": 0}, "kernel_size must .* at least 1, not 0"),
    ({"kernel_size": (3, 3, 3)}, r"kernel_size must .* not \(3, 3, 3\)"),
    ({"stride": 0}, "stride must .* at least 1, not 0"),
    ({"stride": (1, -1)}, r"stride must .* at least 1, not \(1, -1\)"),
    ({"dilation": 0}, "dilation must .* at least 1, not 0"),
    ({"padding": -1}, "padding must .* at least 0, not -1"),
], ids=str)
@pytest.mark.parametrize("kind", [AddConv2d, ShiftConv2d])
def test_sizes_are_checked(kind: type[nn.Module], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(2, 3, **{"kernel_size": 3, **options})


@pytest.mark.parametrize("eta", ["a", math.nan, math.inf, -0.1])
@pytest.mark.parametrize("kind", [lambda **o: AddConv2d(1, 1, 1, **o),
                                  lambda **o: AddLinear(1, 1, **o)], ids=["conv", "linear"])
def test_eta_is_checked(kind, eta: object) -> None:
    with pytest.raises(ValueError, match=f"eta must be a finite number of at least 0, not {eta!r}"):
        kind(eta=eta)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_inputs_are_of_floating_point(dtype: torch.dtype) -> None:
    for layer, shape in (AddConv2d(2, 3, 1), (1, 2, 2, 2)), (AddLinear(2, 3), (4, 2)):
        with pytest.raises(ValueError, match=f"holds floating-point numbers, not {dtype} and"):
            layer(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("shape", [(4, 6), (0, 7), (70,), ()], ids=str)
def test_features_are_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"an add layer for 5 features reads \(..., 5\), not "
                                         + re.escape(str(shape))):
        AddLinear(5, 3)(torch.zeros(shape))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: AddConv2d(4, 4, 3, groups=2), "an add layer has 1 group, not 2"),
    (lambda: AddConv2d(4, 4, 3)(torch.zeros(1, 3, 5, 5)),
     r"an add layer for 4 channels reads \(n, 4, h, w\), not \(1, 3, 5, 5\)"),
    (lambda: AddConv2d(4, 4, 3)(torch.zeros(1, 4, 2, 5)),
     r"of \(2, 5\) with padding \(0, 0\) is smaller than the kernel \(3, 3\) with dilation"),
    (lambda: AddConv2d(4, 4, 3, padding="full"),
     "padding must be 'same', 'valid' or numbers, not 'full'"),
    (lambda: AddConv2d(4, 4, 3, 2, "same"), r"padding 'same' needs stride 1, not \(2, 2\)"),
    (lambda: AddConv2d(4, 4, 2, padding="same"),
     r"padding 'same' of the kernel \(2, 2\) is not the same on both sides"),
])
def test_errors(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("compiler", "reason"), [
    (None, "g[+][+] not found"),
    ("echo no such flag >&2; exit 1", "g[+][+] cannot compile .*: no such flag")])
def test_without_a_compiler(compiler: str | None, reason: str, tmp_path, monkeypatch) -> None:
    if compiler:
        (tmp_path / "g++").write_text(f"#!/bin/sh\n{compiler}\n", encoding="utf-8")
        (tmp_path / "g++").chmod(0o755)
    x, layer = torch.randn(2, 2, 5, 5), AddConv2d(2, 3, 3)
    expected = layer(x)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("accel.compiled.BUILD", tmp_path)
    kernel.library.cache_clear()
    try:
        with pytest.warns(UserWarning, match=reason):
            got = layer(x)
        assert torch.allclose(got, expected, atol=1e-5)
        assert torch.equal(layer(x), got)       # without another warning
    finally:
        kernel.library.cache_clear()


def test_where_nothing_can_be_written_or_loaded(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    x, layer = torch.randn(2, 2, 5, 5), AddConv2d(2, 3, 3)
    expected = layer(x)
    try:
        monkeypatch.setattr("accel.compiled.BUILD", tmp_path / "file")
        kernel.library.cache_clear()
        with pytest.warns(UserWarning, match=r"cannot write .*: Not a directory: add layers are"):
            assert torch.allclose(layer(x), expected, atol=1e-5)
        monkeypatch.setattr(kernel, "compiled", lambda *_, **__: tmp_path / "file")
        kernel.library.cache_clear()
        with pytest.warns(UserWarning, match="file too short: add layers are computed by torch"):
            assert torch.allclose(layer(x), expected, atol=1e-5)
    finally:
        kernel.library.cache_clear()


@pytest.mark.parametrize(("argument", "status"), [("--bogus", 2), ("--help", 0)])
def test_the_benchmark_reads_its_command_line(argument: str, status: int, monkeypatch) -> None:
    monkeypatch.setattr(bench, "CASES", ())
    with pytest.raises(SystemExit) as exit_:
        bench.main([argument])
    assert exit_.value.code == status


def test_the_loops_run_on_the_threads_of_torch() -> None:
    """A second pool of threads would fight for the cores with the first, which waits busily."""
    script = ("import torch\nfrom pathlib import Path\nfrom accel.nn import AddConv2d\n"
              "torch.set_num_threads(2)\nlayer, x = AddConv2d(3, 3, 3), torch.ones(64, 3, 32, 32)\n"
              "torch.nn.functional.conv2d(x, layer.weight)\ncount = lambda: len(list("
              "Path('/proc/self/task').iterdir()))\nbefore = count()\nlayer(x)\n"
              "print(before, count())")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)
    before, after = map(int, done.stdout.split())
    assert before == after
