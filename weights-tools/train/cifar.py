"""CIFAR-10's training images, the 5,000 of them that nothing is trained on, and the ways in which images are varied."""
import numpy as np
import torch
import torch.nn.functional as F

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HELD_OUT, SEED = 5000, 2025


def load(path):
    """`pack_cifar.py`'s file, in random order, as ((images uint8 [N, 3, 32, 32], labels [N]) to train on, the same held out)."""
    packed = np.load(path)
    x = torch.from_numpy(packed["x"]).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(packed["y"]).long()
    order = np.random.RandomState(SEED).permutation(len(y))
    held, rest = torch.from_numpy(order[:HELD_OUT]), torch.from_numpy(order[HELD_OUT:])
    return (x[rest], y[rest]), (x[held], y[held])


def pixels(x):
    """Bytes to -1 ... 1, as the models' preprocessor says."""
    return x.float().div_(127.5).sub_(1)


def cropped(x, margin, random):
    """Each image moved by up to `margin` pixels, its edge mirrored, and half of them flipped."""
    n, side = len(x), x.shape[-1]
    x = F.pad(x.float(), (margin,) * 4, mode="reflect")
    dy, dx = (torch.randint(0, 2 * margin + 1, (n, 1), generator=random) for _ in range(2))
    span = torch.arange(side)
    columns = torch.where(torch.rand(n, 1, generator=random) < 0.5, span, span.flip(0)) + dx
    return x[torch.arange(n)[:, None, None, None], torch.arange(3)[None, :, None, None], (span + dy)[:, None, :, None], columns[:, None, None, :]]


def coloured(x, random):
    """Saturation, contrast and brightness varied; pixels from 0 to 255."""
    s, c, b = (torch.rand(len(x), 1, 1, 1, generator=random) for _ in range(3))
    grey = x.mean(1, keepdim=True)
    return ((grey + (x - grey) * (0.6 + 0.8 * s) - 127.5) * (0.75 + 0.5 * c) + 127.5 + 50 * (b - 0.5)).clamp_(0, 255)


def mixed(x, y, random):
    """A sixth of the images blended with the next one (mixup), a third with a box of it (CutMix); labels [N, 10] likewise."""
    n, side = len(x), x.shape[-1]
    kind, share = torch.rand(n, generator=random), torch.rand(n, generator=random)
    half = side * (1 - share).sqrt() / 2
    cy, cx = (torch.rand(n, generator=random) * side for _ in range(2))
    span = torch.arange(side) + 0.5
    box = ((span - cy[:, None]).abs() < half[:, None])[:, :, None] & ((span - cx[:, None]).abs() < half[:, None])[:, None, :]
    other = box.float()[:, None] * (kind < 1 / 3).view(-1, 1, 1, 1) + share.view(-1, 1, 1, 1) * 0.5 * (kind > 5 / 6).view(-1, 1, 1, 1)
    weight = other.mean((1, 2, 3))[:, None]
    return x + (x.roll(1, 0) - x) * other, y + (y.roll(1, 0) - y) * weight
