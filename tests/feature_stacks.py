"""The feature networks as plain stacks of torch layers, in torchvision's order and under its names."""

import math

import torch
from torch import Tensor, nn

VGG_BLOCKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}


class Fire(nn.Module):
    def __init__(self, n_in: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.activation = nn.Conv2d(n_in, squeeze, 1), nn.ReLU()
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.squeeze(x))
        return torch.cat([self.activation(self.expand1x1(x)), self.activation(self.expand3x3(x))], 1)


def stack_of(architecture: str, n_modules: int) -> nn.Sequential:
    """The first modules of torchvision's `features`, with random weights of its layout."""
    modules: list[nn.Module] = []
    if architecture == "squeezenet1.1":
        modules += [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        modules += [Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)]
        modules += [Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)]
        modules += [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    else:
        n_in = 3
        for count, n_out in zip(VGG_BLOCKS[architecture], (64, 128, 256, 512, 512), strict=True):
            for _ in range(count):
                if len(modules) < n_modules:  # the deep ones are large
                    modules += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
                n_in = n_out
            modules.append(nn.MaxPool2d(2))
    stack = nn.Sequential(*modules[:n_modules]).eval()
    draws = torch.Generator().manual_seed(0)
    for parameter in stack.parameters():
        fan_in = parameter[0].numel() if parameter.ndim == 4 else 25
        nn.init.normal_(parameter, std=math.sqrt(2 / fan_in), generator=draws)
    return stack


def state_of(stack: nn.Sequential) -> dict[str, Tensor]:
    return {f"features.{key}": tensor.detach().clone() for key, tensor in stack.state_dict().items()}
