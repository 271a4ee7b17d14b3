"""Trains a small convolutional network on CIFAR-10, whose outputs and feature maps teach the ViT.

    python pack_cifar.py CIFAR-10-images
    python train_teacher.py cifar_train.npz teacher.pt --threads 2 --epochs 8

Architecture and recipe follow K. Jordan's airbench (arXiv 2404.00498; Muon variant): a whitening 2×2 convolution, three groups
of two 3×3 convolutions, BatchNorm without scale, GELU. Here images keep 32 pixels, so that the second group's map has
8 × 8 cells, one for each of the ViT's patches. The zoo's ViT was taught by one of 5 epochs and 3 more (`--start teacher.pt --peak 0.4
--epochs 3`): 89.2 % on held-out images.
"""
import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import cifar
from optimisers import Muon, save
from parallel import Workers, half

WIDTHS = [24, 64, 256, 256]
BATCH, JOB = 2000, 125
NORMS = [f"{g}.norm{i}" for g in (1, 2, 3) for i in (1, 2)]


def features(w, pixels, statistics=None, seen=None):
    """Pixels [B, 3, 32, 32] -> (logits [B, 10], maps [B, 256, 8, 8] and [B, 256, 4, 4]).

    Channels are normalised over the batch, or by `statistics` {name: (mean, variance)}; the batch's own go to `seen`.
    """
    def norm(x, name):
        if seen is not None:
            variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
            seen.setdefault(name, []).append((mean, variance))
        mean, variance = statistics[name] if statistics else (None, None)
        bias = w[name + ".bias"] if statistics is None else w[name + ".bias"].float()
        return F.gelu(F.batch_norm(x, mean, variance, None, bias, training=statistics is None, eps=1e-5))

    x = F.pad(pixels.to(w["head"].dtype), (0, 1, 0, 1), mode="reflect").contiguous(memory_format=torch.channels_last)
    x, maps = F.gelu(F.conv2d(x, w["0.conv"], w["0.bias"])), []
    for g in (1, 2, 3):
        x = norm(F.max_pool2d(F.conv2d(x, w[f"{g}.conv1"], padding=1), 2), f"{g}.norm1")
        x = norm(F.conv2d(x, w[f"{g}.conv2"], padding=1), f"{g}.norm2")
        maps.append(x)
    return F.linear(F.max_pool2d(x, 4).flatten(1), w["head"]) / WIDTHS[3], maps[1], maps[2]


def initial(images):
    """Whitening filters of the images' 2×2 patches and their negatives; the other convolutions begin by passing channels on."""
    patches = cifar.pixels(images).unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    white = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
    w = {"0.conv": torch.cat([white, -white]), "0.bias": torch.zeros(24)}
    for g in (1, 2, 3):
        for i, inputs in ((1, WIDTHS[g - 1]), (2, WIDTHS[g])):
            conv = torch.nn.init.kaiming_uniform_(torch.empty(WIDTHS[g], inputs, 3, 3), a=5**0.5)
            torch.nn.init.dirac_(conv[:inputs])
            w[f"{g}.conv{i}"], w[f"{g}.norm{i}.bias"] = conv, torch.zeros(WIDTHS[g])
    w["head"] = torch.randn(10, WIDTHS[3])
    return w


def measured(w, x, workers):
    """Means and variances of the channels before each norm, over varied training images."""
    leaves, seen = {k: half(v) for k, v in w.items()}, [{} for _ in range(20)]

    def look(i):
        with torch.no_grad():
            features(leaves, cifar.pixels(cifar.cropped(x[i * 250:(i + 1) * 250], 2, torch.Generator().manual_seed(i))), seen=seen[i])

    workers.map(look, range(20))
    return {name: tuple(torch.stack([s[name][0][part] for s in seen]).mean(0) for part in (0, 1)) for name in NORMS}


class Teacher:
    """The trained network, for inference in bfloat16."""

    def __init__(self, path):
        saved = torch.load(path, weights_only=True)
        self.w, self.statistics = {k: half(v) for k, v in saved["weights"].items()}, saved["statistics"]

    @torch.no_grad()
    def __call__(self, pixels):
        return features(self.w, pixels, self.statistics)


def accuracy(teacher, x, y, workers, mirrored=False):
    def right(i):
        p = cifar.pixels(x[i:i + 250])
        logits = teacher(p)[0] + (teacher(p.flip(-1))[0] if mirrored else 0)
        return int((logits.argmax(1) == y[i:i + 250]).sum())

    return 100 * sum(workers.map(right, range(0, len(y), 250))) / len(y)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="cifar_train.npz")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=8)
    parser.add_argument("--start", type=Path, help="a teacher to train on, instead of a fresh one")
    parser.add_argument("--peak", type=float, default=1, help="share of the rates of learning to begin with; they fall to nothing (with --start: 0.4)")
    args = parser.parse_args()
    torch.manual_seed(0)
    workers = Workers(args.threads)
    (x, y), (held_x, held_y) = cifar.load(args.images)
    w = torch.load(args.start, weights_only=True)["weights"] if args.start else initial(x[:5000])
    fixed = w.pop("0.conv")
    muon = Muon({k: v for k, v in w.items() if k[0] in "123" and ".conv" in k}, lr=0.24, momentum=0.6, steps=3, unit=True)
    biases = {k: v for k, v in w.items() if k.endswith("bias")}
    sgd = torch.optim.SGD([{"params": list(biases.values()), "lr": 0.053, "weight_decay": 2e-6 * BATCH / 0.053},
                           {"params": [w["head"]], "lr": 0.67, "weight_decay": 2e-6 * BATCH / 0.67}], momentum=0.85, nesterov=True)
    peaks, steps = [0.053, 0.67], int(args.epochs * len(x) / BATCH)
    began = time.time()

    def loss_of(leaves, job):
        rows, seed = job
        p = cifar.pixels(cifar.cropped(x[rows], 2, torch.Generator().manual_seed(seed)))
        return F.cross_entropy(features({**leaves, "0.conv": half(fixed)}, p)[0].float(), y[rows], label_smoothing=0.2, reduction="sum")

    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(x))])
        rows, order = order[:BATCH], order[BATCH:]
        gradients, losses = workers.gradients(w, [(r, step * 1000 + i) for i, r in enumerate(rows.split(JOB))], loss_of)
        factor = args.peak * (1 - step / steps)
        for group, peak in zip(sgd.param_groups, peaks):
            group["lr"] = peak * factor
        for name in [*biases, "head"]:
            w[name].grad = gradients[name]
        sgd.step()
        muon.step(gradients, factor, workers)
        if step % 10 == 9:
            print(f"{(time.time() - began) / 60:.1f} min, step {step + 1} of {steps}, loss {sum(losses) / BATCH:.3f}", flush=True)
        if step % 50 == 49 or step == steps - 1:
            w_all = {**{k: v.detach() for k, v in w.items()}, "0.conv": fixed}
            save(args.out, weights=w_all, statistics=measured(w_all, x, workers))
            teacher = Teacher(args.out)
            alone, mirrored = (accuracy(teacher, held_x, held_y, workers, both) for both in (False, True))
            print(f"held out: {alone:.2f} %, with mirror images {mirrored:.2f} %", flush=True)


if __name__ == "__main__":
    main()
