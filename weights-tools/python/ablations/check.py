"""Holds simulate.py against the float64 definition: python check.py REPO SHARED (largest difference of the final rows, by case)."""
import sys
import numpy as np
import torch
repo, shared = sys.argv[1:3]
sys.path.insert(0, shared + "/reference")
import prism_reference as ref
from simulate import Shared, Sharing
from stacks import load
from wires import on_wire
torch.set_num_threads(1)
rng = np.random.default_rng(0)
folders = {"vit": repo + "/models/vit-cifar10", "gpt2": repo + "/models/gpt2-chronicle", "bert": shared + "/finetuned/minilm-mrpc"}
for name, folder in folders.items():
    r, t = ref.load(folder), load(folder)
    x = r.embed(rng.standard_normal((3, 32, 32))) if name == "vit" else r.embed(rng.integers(1, 8000, 40))
    for P, kw in ((1, {}), (2, dict(segments=3)), (3, dict(segments=2, point="normed")), (2, dict(segments=None)), (2, dict(segments=0)),
                  (2, dict(segments=3, point="normed", wire="int8")), (4, dict(segments=2, point="normed", lost=(1, 2)))):
        want = r.run(x, ref.split_even(len(x), P), **kw)
        s = Sharing(devices=P, rows=-1 if kw.get("segments", 1) is None or P == 1 else kw["segments"], point=kw.get("point", "input"), wire=kw.get("wire", "f32"),
                    lost=(*kw["lost"], 99) if "lost" in kw else None)
        got = Shared(t, s, on_wire(s.wire)).run(torch.from_numpy(x).float()[None])[0].numpy()
        print(name, P, kw, f"{np.abs(got - want).max():.2e} of {np.abs(want).max():.1f}")
