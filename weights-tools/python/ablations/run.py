"""Compares ways to share a forward on development data (never a test split) and writes one JSON of results.

    pip install torch numpy safetensors tokenizers
    python weights-tools/python/ablations/run.py . ../shared cifar_train.npz ablations.json [--only clusters method] [--shrink 4] [--f32]

cifar_train.npz has the 50,000 training images (`x` uint8 [N, 32, 32, 3], `y`). Finished results are kept beside the output, so that a run can be
continued. Products are in bfloat16 on a float32 residual stream unless `--f32`; one device is computed the same way. `--shrink` divides the number of items.
"""
import argparse
import json
from pathlib import Path
import torch
from grid import grid
from lab import Lab

p = argparse.ArgumentParser()
for name in ("repository", "shared", "images", "out"):
    p.add_argument(name, type=Path)
p.add_argument("--only", nargs="*")
p.add_argument("--shrink", type=int, default=1)
p.add_argument("--threads", type=int, default=1)
p.add_argument("--f32", action="store_true")
a = p.parse_args()
torch.set_num_threads(a.threads)
lab = Lab(a.out.with_suffix(".jsonl"), a.repository, a.shared, a.images, torch.float32 if a.f32 else torch.bfloat16)
results = []
for group, task, items, sharing in grid():
    if not a.only or group in a.only:
        results.append({"group": group, **lab(task, max(4, items // a.shrink), **sharing)})
a.out.write_text(json.dumps(results, indent=1) + "\n")
