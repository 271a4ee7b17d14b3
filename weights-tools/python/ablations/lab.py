"""Runs sharings over tasks, keeps finished ones in a JSON-lines file, prints a line each."""
import json, time
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from simulate import Sharing, plan_of
from tasks import make
from wires import row_bytes


def ranks(x):
    _, at, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[at]


def spearman(x, y):
    return np.corrcoef(ranks(x), ranks(y))[0, 1]


def summary(loss):
    out = {}
    if "pair" in loss:
        a, b, y = loss.pop("pair")
        f = lambda i: 100 * (spearman(a[i], y[i]) - spearman(b[i], y[i]))
        rng = np.random.default_rng(0)
        out["loss"] = float(f(np.arange(len(y))))
        out["loss_se"] = float(np.std([f(rng.integers(0, len(y), len(y))) for _ in range(100)]))
    document = loss.pop("document", None)
    if "by" in loss:
        out["by"] = loss.pop("by")
    for k, v in loss.items():
        v = v.double()
        out[k] = float(v.mean())
        if document is not None:
            sums = np.bincount(document, v.numpy() - out[k])
            out[k + "_se"] = float(np.sqrt((sums**2).sum()) / len(v))
        else:
            out[k + "_se"] = float(v.std() / len(v) ** 0.5)
    return out


class Lab:
    def __init__(self, out, repo, shared, images, dtype=torch.bfloat16):
        self.where, self.dtype, self.out, self.tasks, self.alone = (repo, shared, images), dtype, Path(out), {}, {}
        self.done = {}
        if self.out.exists():
            for line in self.out.read_text().splitlines():
                r = json.loads(line); self.done[r["key"]] = r

    def task(self, name, n):
        if (name, n) not in self.tasks:
            self.tasks[name, n] = t = make(name, *self.where, self.dtype, n)
            self.alone[name, n] = t.run(Sharing(devices=1, rows=0))
        return self.tasks[name, n]

    def __call__(self, name, n=None, note="", **kw):
        s = Sharing(**kw)
        key = json.dumps([name, n, str(self.dtype), {k: v for k, v in asdict(s).items() if v != Sharing.__dataclass_fields__[k].default}])
        if key not in self.done:
            t = self.task(name, n)
            start = time.time()
            shared = t.run(s)
            alone = self.alone[name, n] if name.startswith(("vit", "sts", "mrpc")) else dict(self.alone[name, n])
            r = dict(key=key, task=name, n=n, sharing=asdict(s), note=note, **summary(t.loss(alone, shared)))
            sent = plan_of(int(round(t.N)), s, t.layers, t.stack.causal).owner
            r["row_bytes"] = row_bytes(s.wire, t.D) + (2 if s.merge else 0)         # a count travels with a cluster
            received = [sum(o != d and (o < d or not t.stack.causal) for layer in sent for o in layer) for d in range(s.devices)]
            r["kilobytes"] = max(received) * r["row_bytes"] / s.reuse / 1000        # of the device that receives most, without frames
            r["seconds"] = time.time() - start
            self.done[key] = r
            with self.out.open("a") as f:
                f.write(json.dumps(r) + "\n")
        r = self.done[key]
        short = " ".join(f"{k}={v}" for k, v in kw.items())
        print(f"{name:8} {short:70} loss {r['loss']:7.4f} ±{r['loss_se']:.4f}" + (f"  kl {r['kl']:.4f} ±{r['kl_se']:.4f}" if "kl" in r else "")
              + (f" dis {r['disagree']:.2f}" if "disagree" in r else "") + (f" xent {r['xent']:.4f}" if "xent" in r else "") + (f" {r['by']}" if "by" in r else "") + f"  {r['kilobytes']:.2f} kB {r['seconds']:.0f} s", flush=True)
        return r
