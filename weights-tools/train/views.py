"""Varied training images together with what the teacher says of them, kept in files: made once, used by every run.

A view holds each training image once: cropped, flipped, coloured, some mixed with another. The teacher sees exactly the
image that the student sees. Its maps are kept as their first principal components in 8 bits, 9 kB a row in all.
"""
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import cifar

ROWS, JOB = 44_544, 64            # 87 batches of 512
FINE, COARSE = 64, 128            # components kept of the maps of 8 × 8 and 4 × 4 cells
FIELDS = {"image": ("uint8", (3, 32, 32)), "label": ("float16", (10,)), "logits": ("float16", (10,)),
          "fine": ("int8", (64, FINE)), "coarse": ("int8", (16, COARSE))}


class Views:
    def __init__(self, folder, x, y, teacher):
        self.folder, self.x, self.y, self.teacher = Path(folder), x, F.one_hot(y, 10).float(), teacher
        self.folder.mkdir(parents=True, exist_ok=True)
        self.views = {}
        axes = self.folder / "axes.pt"
        if not axes.exists():
            torch.save(self.principal(), axes)
        self.axes = torch.load(axes, weights_only=True)

    def principal(self):
        """Of each map: its mean [C], axes [C, k], and the scale in which the components become 8 bits."""
        p = cifar.pixels(cifar.cropped(self.x[:2000], 4, torch.Generator().manual_seed(0)))
        maps = [torch.cat(m) for m in zip(*[self.teacher(part)[1:] for part in p.split(250)])]
        found = []
        for cells, count in zip(maps, (FINE, COARSE)):
            c = cells.float().movedim(1, -1).flatten(0, 2)
            mean = c.mean(0)
            values, vectors = torch.linalg.eigh((c - mean).T @ (c - mean) / len(c))
            found.append({"mean": mean, "axes": vectors[:, -count:].flip(1).contiguous(), "scale": 4 * values[-1].sqrt() / 127, "power": values[-count:].sum()})
            print(f"map of {cells.shape[2]} × {cells.shape[2]}: {count} components hold {float(values[-count:].sum() / values.sum()):.1%}", flush=True)
        return found

    def __len__(self):
        return len(list(self.folder.glob("*/done.json")))

    def open(self, view):
        """The files of a view; not to be called by two threads for one that is not there yet."""
        if view not in self.views:
            folder = self.folder / str(view)
            folder.mkdir(exist_ok=True)
            mode = "r+" if (folder / "image.npy").exists() else "w+"
            self.views[view] = {name: np.lib.format.open_memmap(folder / f"{name}.npy", mode=mode, dtype=dtype, shape=(ROWS, *shape))
                                for name, (dtype, shape) in FIELDS.items()}
        return self.views[view]

    def finish(self, view):
        (self.folder / str(view) / "done.json").write_text(json.dumps({"rows": ROWS}))

    def make(self, view, first):
        """Makes rows `first` … `first` + 64 of a view, and gives them as `read` does."""
        random = torch.Generator().manual_seed(view * 1_000_003 + first)
        order = np.random.RandomState(view).permutation(len(self.x))[first:first + JOB]
        x = cifar.coloured(cifar.cropped(self.x[order], 4, random), random)
        x, y = cifar.mixed(x, self.y[order], random)
        x = x.round().to(torch.uint8)
        logits, *maps = self.teacher(cifar.pixels(x))
        codes = [((m.float().movedim(1, -1).flatten(1, 2) - a["mean"]) @ a["axes"] / a["scale"]).round_().clamp_(-127, 127).to(torch.int8)
                 for m, a in zip(maps, self.axes)]
        to = self.open(view)
        for name, value in zip(FIELDS, (x, y.half(), logits.half(), *codes)):
            to[name][first:first + JOB] = value.numpy()
        return self.read(view, slice(first, first + JOB))

    def read(self, view, rows):
        """Pixels [B, 3, 32, 32], labels and logits [B, 10], maps [B, 64, FINE] and [B, 16, COARSE] whose cells have a mean square length of one."""
        image, label, logits, fine, coarse = (torch.from_numpy(np.array(self.open(view)[name][rows])) for name in FIELDS)
        maps = [codes.float() * (a["scale"] / a["power"].sqrt()) for codes, a in zip((fine, coarse), self.axes)]
        return cifar.pixels(image), label.float(), logits.float(), *maps
