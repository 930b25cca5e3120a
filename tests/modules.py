"""Small torch modules for tests: one of each layer, and graphs that are no chains."""
import torch
from torch import nn
from torch.nn import functional


class Functional(nn.Module):
    """The layers of a chain written as calls, with views for flattening and back."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"first": nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0))})
        self.fc = nn.Linear(3 * 2 * 3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        x = functional.max_pool2d(torch.relu(self.features["first"](x)), 2)
        return torch.tanh(self.fc(functional.dropout(x, training=False).view(x.shape[0], -1)))


class Residual(nn.Module):
    """Batch norms, zeros around one side, a sum of two branches and of a tensor with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 1, 2))
        self.first, self.norm = nn.Conv2d(2, 4, 3, 2, bias=False), nn.BatchNorm2d(4)
        self.second, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        x = torch.relu(self.norm(self.first(self.pad(x))))
        y = torch.add(self.norm2(self.second(x)), x)
        return (y + y).mean((2, 3))


class Concatenating(nn.Module):
    """Channels of three tensors, the input among them, limited from both sides and from above."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 2, 3, padding=1)
        self.six, self.end = nn.ReLU6(), nn.Linear(14 * 4 * 7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        y = torch.clamp(self.six(torch.cat([self.b(x), self.a(x), x], 1)), max=4)
        pooled = functional.adaptive_avg_pool2d(y, (4, 7))
        other = functional.hardtanh(functional.max_pool2d(y, (2, 1)), -1, 2).clamp_min(0.5)
        return self.end(torch.cat([pooled.flatten(1), other.reshape(len(x), -1)], 1))


class InPlace(nn.Module):
    """Operators that change what others read later."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        x = self.a(x)
        y = self.b(x)
        shown = x.view(len(x), -1)
        functional.relu6(x, inplace=True)
        y += x
        return torch.tanh_(y).flatten(1) + shown


class Reshaping(nn.Module):
    """Shapes that come and go without a value moving."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 3, (8, 7)), nn.Linear(3, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 2, 8, 7)."""
        x = self.a(x[:, :].float() if x.dtype == torch.float32 else x)
        x = x.permute(0, 2, 3, 1).transpose(1, 2).squeeze(1).squeeze(1).contiguous()
        return self.c(self.b(x)[:, :, None].unsqueeze(3)).view(-1, 1, 2)


class Features(nn.Module):
    """Reads features without a position; norms behind fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to (n, 12)."""
        return self.b(torch.relu(self.norm(self.a(x)))) + x


def everything() -> nn.Sequential:
    """A chain of most layers."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2, stride=1),
        nn.Identity(), nn.Conv2d(4, 3, 2, stride=(1, 2), bias=False), nn.SELU(), nn.Dropout(),
        nn.Flatten(), nn.Linear(3 * 6 * 3, 5), nn.Tanh(), nn.Unflatten(1, (5, 1, 1)),
        nn.Conv2d(5, 6, 1, padding="valid"), nn.Flatten(), nn.Linear(6, 2))


def randomized(model: nn.Module, seed: int = 1) -> nn.Module:
    """``model`` in evaluation mode; its batch norms have statistics that show."""
    generator = torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            if layer.affine:
                nn.init.normal_(layer.weight, 1, 0.3, generator)
                nn.init.normal_(layer.bias, 0, 0.5, generator)
    return model.eval()
