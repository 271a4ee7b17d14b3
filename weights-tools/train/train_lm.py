"""Trains the zoo's GPT-2.

    python train_lm.py corpus/ run-lm-0/ --like ../../models/gpt2-chronicle --seed 0 --threads 2

`corpus/` is make_corpus.py's. Windows of 256 tokens at random positions first, whole ones of 1,024 for the last fifth; the rate of learning
is constant, then falls over the last half of the tokens. The texts are seen ten times: a tenth of what joins the residual is dropped, and
weights decay. A run that is stopped goes on where it was (`state.pt`; `steady.pt` is the state before the fall, to be continued with more
`--tokens`). Bits per byte are of the held-out documents with even numbers: the odd ones are a test split.
Writes `run-lm-0/model`, a Hugging Face folder in float16.
"""
import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from optimisers import AdamW, Muon, clip
from parallel import Workers
from runs import Run, factor_at

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS = 8192, 1024, 256, 6, 4
DROPOUT, POOL = 0.1, 1 << 22
SHORT, BATCH, JOB = 256, 16_384, 1024           # tokens of a window, a step and a job
WHOLE, FALL = 0.8, 0.5                          # shares of the run: whole windows from here on, the rate falls from here on
KEEP_SECONDS = 120
PARTS = {"attn.c_proj": (WIDTH, WIDTH), "mlp.c_fc": (WIDTH, 4 * WIDTH), "mlp.c_proj": (4 * WIDTH, WIDTH)}


def initial():
    """Matrices lie [out, in], queries, keys and values apart, so that each is orthogonalised by itself."""
    w = {"wte": torch.randn(VOCABULARY, WIDTH) * 0.02, "wpe": torch.randn(CONTEXT, WIDTH) * 0.01}
    for i in range(LAYERS):
        for part, (inputs, outputs) in {"query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), **PARTS}.items():
            std = 0.02 if part in ("attn.c_proj", "mlp.c_proj") else 0.5 * inputs**-0.5
            w[f"h.{i}.{part}.weight"], w[f"h.{i}.{part}.bias"] = torch.randn(outputs, inputs) * std, torch.zeros(outputs)
    for name in [f"h.{i}.ln_{n}" for i in range(LAYERS) for n in (1, 2)] + ["ln_f"]:
        w[name + ".weight"], w[name + ".bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)
    return w


def forward(w, ids, first, dropout=lambda x: x):
    """Token ids [B, T], the position of each window's first [B] -> logits [B, T, vocabulary]."""
    B, T = ids.shape
    affine = lambda name, x: F.linear(x, w[name + ".weight"], w[name + ".bias"])
    norm = lambda name, x: F.layer_norm(x, (WIDTH,), w[name + ".weight"], w[name + ".bias"])
    x = dropout(w["wte"][ids] + w["wpe"][first[:, None] + torch.arange(T)])
    for i in range(LAYERS):
        h = norm(f"h.{i}.ln_1", x)
        q, k, v = (affine(f"h.{i}.{part}", h).view(B, T, HEADS, -1).transpose(1, 2) for part in ("query", "key", "value"))
        o = attention(q, k, v)
        x = x + dropout(affine(f"h.{i}.attn.c_proj", o.transpose(1, 2).reshape(B, T, WIDTH)))
        x = x + dropout(affine(f"h.{i}.mlp.c_proj", F.gelu(affine(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x)), approximate="tanh")))
    return norm("ln_f", x) @ w["wte"].T


def attention(q, k, v):
    """Causal, [B, heads, T, width of a head]; as two products, which is the faster way for short windows."""
    B, heads, T, width = q.shape
    if T > SHORT:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    later = torch.full((T, T), -1e9, dtype=q.dtype).triu(1).expand(B * heads, T, T)
    scores = torch.baddbmm(later, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=width**-0.5)
    return (scores.softmax(-1) @ v.flatten(0, 1)).view(B, heads, T, width)


class Dropout:
    """Masks are cut from one of random numbers at random places: making them anew takes longer than the layer."""

    def __init__(self, pool, random):
        self.pool, self.random = pool, random

    def __call__(self, x):
        start = self.random.randint(0, len(self.pool) - x.numel())
        return x * self.pool[start:start + x.numel()].view_as(x)

    @staticmethod
    def pool_of(share, seed):
        kept = torch.rand(POOL, generator=torch.Generator().manual_seed(seed)) >= share
        return kept.bfloat16() / (1 - share)


class CrossEntropy(torch.autograd.Function):
    """Mean over the rows of logits [N, vocabulary], of which it keeps the probabilities in bfloat16 and nothing in float32."""

    @staticmethod
    def forward(ctx, logits, targets):
        p = logits.softmax(-1)
        ctx.save_for_backward(p, targets)
        return -p[torch.arange(len(p)), targets].float().clamp_min(1e-30).log().mean()

    @staticmethod
    def backward(ctx, gradient):
        p, targets = ctx.saved_tensors
        p[torch.arange(len(p)), targets] -= 1
        return p.mul_(float(gradient) / len(p)), None


def published(w):
    """Under the names and in the layout of Hugging Face's GPT-2: [in, out], queries, keys and values joined."""
    turned = lambda v: v.T if v.ndim == 2 else v
    found = {"wte.weight": w["wte"], "wpe.weight": w["wpe"], "ln_f.weight": w["ln_f.weight"], "ln_f.bias": w["ln_f.bias"]}
    for i in range(LAYERS):
        name = f"h.{i}."
        for kind in ("weight", "bias"):
            joined = torch.cat([w[f"{name}{part}.{kind}"] for part in ("query", "key", "value")])
            found |= {f"{name}attn.c_attn.{kind}": turned(joined), **{f"{name}{part}.{kind}": turned(w[f"{name}{part}.{kind}"]) for part in PARTS}}
            found |= {f"{name}ln_{n}.{kind}": w[f"{name}ln_{n}.{kind}"] for n in (1, 2)}
    return {f"transformer.{name}": v.half().contiguous() for name, v in found.items()}


def read(folder):
    """What `published` wrote, as it was but for the rounding."""
    stored = {name.removeprefix("transformer."): v.float() for name, v in load_file(folder / "model.safetensors").items()}
    w = {"wte": stored["wte.weight"], "wpe": stored["wpe.weight"]}
    for name, v in stored.items():
        if ".c_attn." in name:
            layer, kind = name.split("attn.c_attn.")
            for part, matrix in zip(("query", "key", "value"), v.T.chunk(3) if kind == "weight" else v.chunk(3)):
                w[f"{layer}{part}.{kind}"] = matrix.contiguous()
        elif not name.startswith("w"):
            w[name] = v.T.contiguous() if v.ndim == 2 else v
    return w


def bits_per_byte(w, ids, size, workers, window=CONTEXT):
    """Windows of so many tokens over the documents, which are joined by token 0."""
    def nats(i):
        with torch.no_grad():
            here = ids[i:i + window + 1][None]
            logits = forward(w, here[:, :-1], torch.zeros(1, dtype=torch.long))
            return float(F.cross_entropy(logits.float()[0], here[0, 1:], reduction="sum"))

    return sum(workers.map(nats, range(0, len(ids) - 1, window))) / math.log(2) / size


def even_documents(corpus, tokenizer):
    """Token ids of the held-out documents with even numbers, and how many bytes they are."""
    from tokenizers import Tokenizer
    ids = torch.from_numpy(np.fromfile(corpus / "valid.bin", np.uint16).astype(np.int64))
    ends = (ids == 0).nonzero()[:, 0].tolist()
    runs = [ids[start:end + 1] for start, end in zip([0, *[e + 1 for e in ends]], ends)][::2]
    text = Tokenizer.from_file(str(tokenizer)).decode_batch([run[:-1].tolist() for run in runs])
    return torch.cat(runs), sum(len(t.encode()) for t in text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="the model folder whose config.json and tokenizer are copied")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=44_000_000)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.5, help="of the weights, a step at the full rate: this times --lr")
    parser.add_argument("--measure", action="store_true", help="only the bits per byte of the model in --like")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    workers = Workers(args.threads)
    develop, size = even_documents(args.corpus, args.like / "tokenizer.json")
    if args.measure:
        print(f"{args.like.name}: {bits_per_byte(read(args.like), develop, size, workers):.4f} bits per byte of {size}")
        return
    ids = torch.from_numpy(np.fromfile(args.corpus / "train.bin", np.uint16).astype(np.int64))
    w = initial()
    matrices = {k: v for k, v in w.items() if v.ndim == 2 and k.startswith("h.")}
    run = Run(args.out, w, Muon(matrices, args.lr, decay=args.decay), AdamW({k: v for k, v in w.items() if k not in matrices}, args.lr * 0.7, (0.9, 0.95), 0.2 * args.decay))
    pool = Dropout.pool_of(DROPOUT, args.seed)
    steps, began, kept_at, at_first, recent = args.tokens // BATCH, time.time(), time.time(), run.step, []
    while run.step < steps:
        share = run.step / steps
        window = SHORT if share < WHOLE else CONTEXT

        def loss_of(leaves, job):
            random = np.random.RandomState([args.seed, run.step, job])
            starts = random.randint(0, len(ids) - window - 1, JOB // window)
            rows = torch.stack([ids[s:s + window + 1] for s in starts])
            first = torch.from_numpy(random.randint(0, CONTEXT - window + 1, len(rows)))
            logits = forward(leaves, rows[:, :-1], first, Dropout(pool, random))
            return CrossEntropy.apply(logits.flatten(0, 1), rows[:, 1:].flatten())

        gradients, losses = workers.gradients(w, range(BATCH // JOB), loss_of)
        for g in gradients.values():
            g.div_(BATCH // JOB)
        clip(gradients, 1.0)
        run.update(gradients, factor_at((run.step + 1) / steps, 0.03, FALL), workers)
        recent.append(np.mean(losses))
        if run.step == int(FALL * steps):
            run.keep("steady.pt")
        if time.time() - kept_at > KEEP_SECONDS or run.step == steps:
            kept_at = time.time()
            run.keep()
            rate = (run.step - at_first) * BATCH / (kept_at - began)
            part = 16 * CONTEXT
            bits = bits_per_byte({k: v.bfloat16() for k, v in w.items()}, develop[:part + 1], size * part / len(develop), workers, window)
            print(f"{(kept_at - began) / 60:.1f} min, step {run.step} of {steps}, windows of {window}, {np.mean(recent):.3f} nats, {rate:.0f} tokens/s, "
                  f"about {bits:.3f} bits per byte", flush=True)
            recent = []
    folder = args.out / "model"
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(args.like / name, folder / name)
    config = json.loads((folder / "config.json").read_text())
    assert (config["n_embd"], config["n_layer"], config["n_head"], config["vocab_size"]) == (WIDTH, LAYERS, HEADS, VOCABULARY)
    save_file(published(w), folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    print(f"held out, even documents: {bits_per_byte(read(folder), develop, size, workers):.4f} bits per byte (float32 arithmetic on the stored weights)", flush=True)


if __name__ == "__main__":
    main()
