"""DBGAN, SFT-Net and MPRNet as their papers and key lists have them, written as functions over tensors by their
published names; a tensor that is asked for the first time is drawn.
"""

import torch
from torch import Tensor
from torch.nn import functional

Pyramid = list[Tensor]


class Weights(dict[str, Tensor]):
    """The state of a published network, as far as it has been run."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.draws, self.strength = torch.Generator().manual_seed(3), strength

    def conv(self, name: str, x: Tensor, n_out: int, side: int = 3, *, stride: int = 1, bias: bool = True) -> Tensor:
        padding = 0 if stride > 1 else side // 2
        shape = (n_out, x.shape[1], side, side)
        if f"{name}.weight" not in self:
            spread = self.strength / (x.shape[1] * side * side) ** 0.5
            self[f"{name}.weight"] = spread * torch.randn(shape, generator=self.draws)
            if bias:
                self[f"{name}.bias"] = 0.1 * torch.randn(n_out, generator=self.draws)
        return functional.conv2d(x, self[f"{name}.weight"], self.get(f"{name}.bias"), stride, padding)


def dbgan(w: Weights, image: Tensor, *, width: int, growth: int, n_blocks: int) -> Tensor:
    def leaky(x: Tensor) -> Tensor:
        return functional.leaky_relu(x, 0.2)

    begun = x = w.conv("model.0", image, width)
    for block in range(n_blocks):
        kept = x
        for dense in (1, 2, 3):
            seen = [x]
            for number in (1, 2, 3, 4):
                name = f"model.1.sub1.{block}.RDB{dense}.conv{number}.0"
                seen.append(leaky(w.conv(name, torch.cat(seen, 1), growth)))
            x = x + 0.2 * w.conv(f"model.1.sub1.{block}.RDB{dense}.conv5.0", torch.cat(seen, 1), width)
        x = kept + 0.2 * x
    x = begun + w.conv("model.1.sub2.0", x, width)
    return (image + w.conv("model.4", leaky(w.conv("model.2", x, width)), 3)).clamp(0, 1)


def sftnet(w: Weights, image: Tensor, maps: Tensor, *, width: int, n_blocks: int, paper: bool) -> Tensor:
    """paper: the version as in the paper; else the authors' later one."""

    def transform(name: str, x: Tensor) -> Tensor:
        slope = 0.01 if paper else 0.1
        both = []
        for kind in ("scale", "shift"):
            inner = functional.leaky_relu(w.conv(f"{name}.SFT_{kind}_conv0", told, 32, 1), slope)
            both.append(w.conv(f"{name}.SFT_{kind}_conv1", inner, width, 1))
        return x * (both[0] if paper else both[0] + 1) + both[1]

    told = w.conv("CondNet.0", maps, 128, 4, stride=4)
    for number, n_out in ((2, 128), (4, 128), (6, 128), (8, 32)):
        told = w.conv(f"CondNet.{number}", functional.leaky_relu(told, 0.1), n_out, 1)
    begun = x = w.conv("conv0", image, width)
    for block in range(n_blocks):
        name, inner = f"sft_branch.{block}", transform(f"sft_branch.{block}.sft0", x)
        inner = w.conv(f"{name}.conv0", inner.relu() if paper else inner, width)
        inner = transform(f"{name}.sft1", inner if paper else inner.relu())
        x = x + w.conv(f"{name}.conv1", inner.relu() if paper else inner, width)
    x = begun + w.conv(f"sft_branch.{n_blocks + 1}", transform(f"sft_branch.{n_blocks}", x), width)
    for number in (0, 3):
        if paper:
            x = w.conv(f"HR_branch.{number + 1}", x.repeat_interleave(2, 2).repeat_interleave(2, 3), width).relu()
        else:
            x = functional.pixel_shuffle(w.conv(f"HR_branch.{number}", x, 4 * width), 2).relu()
    return w.conv("HR_branch.8", w.conv("HR_branch.6", x, width).relu(), 3)


def mprnet(w: Weights, image: Tensor, *, n: int, wider: int, full: int, n_cab: int, reduction: int) -> list[Tensor]:
    """[stage 3, stage 2, stage 1].  n: features;  wider: more at each level;  full: more at the original size."""
    widths = [n, n + wider, n + 2 * wider]

    def conv(name: str, x: Tensor, n_out: int, side: int = 3) -> Tensor:
        return w.conv(name, x, n_out, side, bias=False)

    def cab(name: str, x: Tensor) -> Tensor:
        slope = w.setdefault(f"{name}.body.1.weight", torch.tensor([0.2]))
        inner = conv(f"{name}.body.2", functional.prelu(conv(f"{name}.body.0", x, x.shape[1]), slope), x.shape[1])
        mean = conv(f"{name}.CA.conv_du.0", inner.mean((2, 3), keepdim=True), x.shape[1] // reduction, 1).relu()
        return x + inner * conv(f"{name}.CA.conv_du.2", mean, x.shape[1], 1).sigmoid()

    def two(name: str, x: Tensor) -> Tensor:
        return cab(f"{name}.1", cab(f"{name}.0", x))

    def resized(name: str, x: Tensor, n_out: int, factor: float) -> Tensor:
        bigger = functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        return conv(f"{name}.1", bigger, n_out, 1)

    def shallow(stage: int, x: Tensor) -> Tensor:
        return cab(f"shallow_feat{stage}.1", conv(f"shallow_feat{stage}.0", x, n))

    def encoder(name: str, x: Tensor, before: tuple[Pyramid, Pyramid] | None = None) -> Pyramid:
        found: Pyramid = []
        for level, down in enumerate(("", "down12", "down23")):
            x = two(
                f"{name}.encoder_level{level + 1}", resized(f"{name}.{down}.down", x, widths[level], 0.5) if down else x
            )
            for kind, one in zip(("enc", "dec"), before or (), strict=False):
                x = x + conv(f"{name}.csff_{kind}{level + 1}", one[level], widths[level], 1)
            found.append(x)
        return found

    def decoder(name: str, seen: Pyramid) -> Pyramid:
        third = two(f"{name}.decoder_level3", seen[2])
        x = resized(f"{name}.up32.up", third, widths[1], 2) + cab(f"{name}.skip_attn2", seen[1])
        second = two(f"{name}.decoder_level2", x)
        x = resized(f"{name}.up21.up", second, widths[0], 2) + cab(f"{name}.skip_attn1", seen[0])
        return [two(f"{name}.decoder_level1", x), second, third]

    def sam(name: str, x: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
        picture = photo + conv(f"{name}.conv2", x, 3, 1)
        return conv(f"{name}.conv1", x, n, 1) * conv(f"{name}.conv3", picture, n, 1).sigmoid() + x, picture

    def beside(one: Pyramid, other: Pyramid, axis: int) -> Pyramid:
        return [torch.cat(pair, axis) for pair in zip(one, other, strict=True)]

    height, width = image.shape[-2] // 2, image.shape[-1] // 2
    halves, made, first_pictures = [image[:, :, :height], image[:, :, height:]], [], []
    for half in halves:
        left, right = (encoder("stage1_encoder", shallow(1, x)) for x in (half[..., :width], half[..., width:]))
        seen = beside(left, right, 3)
        told = decoder("stage1_decoder", seen)
        features, picture = sam("sam12", told[0], half)
        x = conv("concat12", torch.cat([shallow(2, half), features], 1), n)
        made.append(encoder("stage2_encoder", x, (seen, told)))
        first_pictures.append(picture)
    seen = beside(*made, 2)
    told = decoder("stage2_decoder", seen)
    features, second_picture = sam("sam23", told[0], image)
    x = conv("concat23", torch.cat([shallow(3, image), features], 1), n + full)
    for level in range(3):
        row = f"stage3_orsnet.orb{level + 1}.body"
        inner = x
        for block in range(n_cab):
            inner = cab(f"{row}.{block}", inner)
        x = x + conv(f"{row}.{n_cab}", inner, n + full)
        grown = []
        for kind, pyramid in (("enc", seen), ("dec", told)):
            up, one = f"stage3_orsnet.up_{kind}{level}", pyramid[level]
            if level == 1:
                one = resized(f"{up}.up", one, n, 2)
            if level == 2:
                one = resized(f"{up}.1.up", resized(f"{up}.0.up", one, widths[1], 2), n, 2)
            grown.append(conv(f"stage3_orsnet.conv_{kind}{level + 1}", one, n + full, 1))
        x = x + grown[0] + grown[1]
    return [image + conv("tail", x, 3), second_picture, torch.cat(first_pictures, 2)]
