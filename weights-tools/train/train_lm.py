"""Trains the zoo's GPT-2.

    python train_lm.py corpus/ run-lm-0/ --like ../../models/gpt2-chronicle --seed 0 --threads 2

`corpus/` is make_corpus.py's. Windows of 256 tokens at random positions first, whole ones of 1,024 for the last part; the rate of learning
is constant, then falls over the last 40 % of the tokens. A run that is stopped goes on where it was (`state.pt`; `steady.pt` is the state before
the fall, to be continued with more `--tokens`). Bits per byte are of the held-out documents with even numbers: the odd ones are a test split.
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
SHORT, BATCH, JOB = 256, 16_384, 1024           # tokens of a window, a step and a job
WHOLE, FALL = 0.7, 0.6                          # shares of the run: whole windows from here on, the rate falls from here on
KEEP_SECONDS = 240
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


def forward(w, ids, first):
    """Token ids [B, T], the position of each window's first [B] -> logits [B, T, vocabulary]."""
    B, T = ids.shape
    affine = lambda name, x: F.linear(x, w[name + ".weight"], w[name + ".bias"])
    norm = lambda name, x: F.layer_norm(x, (WIDTH,), w[name + ".weight"], w[name + ".bias"])
    x = w["wte"][ids] + w["wpe"][first[:, None] + torch.arange(T)]
    for i in range(LAYERS):
        h = norm(f"h.{i}.ln_1", x)
        q, k, v = (affine(f"h.{i}.{part}", h).view(B, T, HEADS, -1).transpose(1, 2) for part in ("query", "key", "value"))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + affine(f"h.{i}.attn.c_proj", o.transpose(1, 2).reshape(B, T, WIDTH))
        x = x + affine(f"h.{i}.mlp.c_proj", F.gelu(affine(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x)), approximate="tanh"))
    return norm("ln_f", x) @ w["wte"].T


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


def bits_per_byte(w, ids, size, workers):
    """Windows of 1,024 tokens over the documents, which are joined by token 0."""
    def nats(i):
        with torch.no_grad():
            window = ids[i:i + CONTEXT + 1][None]
            logits = forward(w, window[:, :-1], torch.zeros(1, dtype=torch.long))
            return float(F.cross_entropy(logits.float()[0], window[0, 1:], reduction="sum"))

    return sum(workers.map(nats, range(0, len(ids) - 1, CONTEXT))) / math.log(2) / size


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
    parser.add_argument("--tokens", type=int, default=32_000_000)
    parser.add_argument("--lr", type=float, default=3e-3)
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
    run = Run(args.out, w, Muon(matrices, args.lr, decay=0.1), AdamW({k: v for k, v in w.items() if k not in matrices}, args.lr * 0.7, (0.9, 0.95), 0.01))
    steps, began, kept_at, at_first, recent = args.tokens // BATCH, time.time(), time.time(), run.step, []
    while run.step < steps:
        share = run.step / steps
        window = SHORT if share < WHOLE else CONTEXT

        def loss_of(leaves, job):
            random = np.random.RandomState([args.seed, run.step, job])
            starts = random.randint(0, len(ids) - window - 1, JOB // window)
            rows = torch.stack([ids[s:s + window + 1] for s in starts])
            first = torch.from_numpy(random.randint(0, CONTEXT - window + 1, len(rows)))
            return F.cross_entropy(forward(leaves, rows[:, :-1], first).float().flatten(0, 1), rows[:, 1:].flatten())

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
            bits = bits_per_byte({k: v.bfloat16() for k, v in w.items()}, develop[:part + 1], size * part / len(develop), workers)
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
