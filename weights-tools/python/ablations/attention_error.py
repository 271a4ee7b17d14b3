"""How close published means come to what rows give attention, layer by layer: python attention_error.py MODEL TOKENIZER TEXT … [--rows 16]

Each layer is given exact rows. The second half of a window of 512 tokens attends to the first half's rows, to their uniform means, or to nothing: the
squared error of attention's output by means, of that by nothing; and how much of the attention goes to the first half.
"""
import argparse
import math
from pathlib import Path
import torch
from stacks import load
from tokenizers import Tokenizer

p = argparse.ArgumentParser()
for name in ("model", "tokenizer"):
    p.add_argument(name, type=Path)
p.add_argument("texts", type=Path, nargs="+")
p.add_argument("--rows", type=int, default=16)
p.add_argument("--windows", type=int, default=8)
a = p.parse_args()
stack, tokenizer = load(a.model), Tokenizer.from_file(str(a.tokenizer))
HALF = 256
later = torch.ones(HALF, HALF).triu(1).bool()


def heads(x): return x.unflatten(-1, (stack.heads, -1)).transpose(1, 2)
def keys_and_values(i, h): return [heads(x) for x in stack.kv(i, h).chunk(2, -1)]


def attend(q, far, near, count):
    """Attention's output and the share of it that goes to `far`, each of whose rows weighs as `count`."""
    scores = [q @ k.mT * q.shape[-1] ** -0.5 for k, _ in (far, near)]
    weights = torch.cat([scores[0] + math.log(count), scores[1].masked_fill(later, -1e9)], -1).softmax(-1)
    return weights @ torch.cat([far[1], near[1]], 2), float(weights[..., : far[0].shape[2]].sum(-1).mean())


with torch.no_grad():
    for text in a.texts:
        ids = torch.tensor(tokenizer.encode(text.read_text()[: a.windows * 6000]).ids[: a.windows * 2 * HALF]).view(-1, 2 * HALF)
        x = stack.embed(ids)
        print(f"{text}: layer, share of attention that is far, with means of normed rows and of the block input; their errors, of that by nothing")
        for i in range(stack.layers):
            h = stack.norm1(i, x)
            q, k, v = heads(stack.q(i, h)), *keys_and_values(i, h)
            near = k[:, :, HALF:], v[:, :, HALF:]
            exact, share = attend(q[:, :, HALF:], (k[:, :, :HALF], v[:, :, :HALF]), near, 1)
            nothing, _ = attend(q[:, :, HALF:], (k[:, :, :0], v[:, :, :0]), near, 1)
            error = lambda o: float((o - exact).square().sum())
            means = lambda rows: rows[:, :HALF].unflatten(1, (a.rows, -1)).mean(2)
            found = [attend(q[:, :, HALF:], keys_and_values(i, m), near, HALF // a.rows) for m in (means(h), stack.norm1(i, means(x)))]
            print(i, f"{share:.3f}", *(f"{s:.3f}" for _, s in found), *(f"{error(o) / error(nothing):.3f}" for o, _ in found))
            first, _ = attend(q[:, :, :HALF], (k[:, :, :0], v[:, :, :0]), (k[:, :, :HALF], v[:, :, :HALF]), 1)
            x = stack.rest(i, x, torch.cat([first, exact], 2).transpose(1, 2).flatten(2))
