"""Muon and AdamW over named float32 weights, with a state that can be saved: {name: tensor}."""
import math

import torch


def orthogonal(gradient, steps):
    """The nearest matrix with singular values near one, by Newton and Schulz (K. Jordan, Muon, 2024): [m, n] -> [m, n]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.mT
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).to(gradient.dtype)


class Muon:
    """For matrices and convolutions. `unit` keeps rows of weights at unit length; without it steps have AdamW's size and weights decay."""

    def __init__(self, weights, lr, momentum=0.95, decay=0.0, steps=5, unit=False):
        self.weights, self.lr, self.momentum, self.decay, self.steps, self.unit = weights, lr, momentum, decay, steps, unit
        self.state = {name: torch.zeros_like(w) for name, w in weights.items()}

    def step(self, gradients, factor, workers):
        def update(name):
            w, g, buffer = self.weights[name], gradients[name], self.state[name]
            buffer.mul_(self.momentum).add_(g)
            o = orthogonal(g.add(buffer, alpha=self.momentum).flatten(1), self.steps).view_as(w)
            if self.unit:
                w.mul_(len(w) ** 0.5 / w.norm()).add_(o, alpha=-self.lr * factor)
            else:
                lr = self.lr * factor
                w.mul_(1 - lr * self.decay).add_(o, alpha=-lr * 0.2 * math.sqrt(max(len(w), w[0].numel())))

        workers.map(update, self.weights)


class AdamW:
    def __init__(self, weights, lr, betas=(0.9, 0.99), decay=0.0):
        self.weights, self.lr, self.betas, self.decay = weights, lr, betas, decay
        self.state = {"steps": torch.zeros(())}
        for name, w in weights.items():
            self.state["first." + name], self.state["second." + name] = torch.zeros_like(w), torch.zeros_like(w)

    def step(self, gradients, factor):
        self.state["steps"] += 1
        n, lr, (b1, b2) = int(self.state["steps"]), self.lr * factor, self.betas
        for name, w in self.weights.items():
            g, first, second = gradients[name], self.state["first." + name], self.state["second." + name]
            first.lerp_(g, 1 - b1)
            second.mul_(b2).addcmul_(g, g, value=1 - b2)
            root = (second / (1 - b2**n)).sqrt_().add_(1e-8)
            w.mul_(1 - lr * self.decay).addcdiv_(first, root, value=-lr / (1 - b1**n))


def clip(gradients, most):
    """Scales all gradients so that their norm together is `most` at most; returns what it was."""
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
    if norm > most:
        for g in gradients.values():
            g.mul_(most / norm)
    return norm


def save(path, **parts):
    """Writes named dictionaries of tensors in one go, so that a run that is stopped never leaves half a file."""
    torch.save(parts, f"{path}.part")
    path.with_name(f"{path.name}.part").replace(path)
