"""Trains the zoo's ViT on CIFAR-10, taught by a convolutional network: by its answers and, patch by patch, by its maps.

    python train_vit.py cifar_train.npz teacher.pt views/ run-0/ --like ../../models/vit-cifar10 --seed 0 --threads 2

After every cell of 8 × 8 the teacher's map says what the patch at that place should know after the fifth layer, and its map of
4 × 4 what it should know after the eighth. For most of the run the student looks at a quarter or half of the patches. The
rate of learning is constant, then falls over the last 30 % of the images, in which all patches are seen. Rows of `views/` are made as
they are first needed; later runs read them. A run that is stopped goes on where it was: `run-0/state.pt`; `run-0/steady.pt` is the
state before the fall, to be continued (copied over state.pt) with a larger `--images`. Writes `run-0/model`, a Hugging Face folder in float16.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import cifar
import vit
from optimisers import AdamW, Muon, clip
from parallel import Workers
from runs import Run, factor_at
from train_teacher import Teacher
from views import COARSE, FINE, JOB, ROWS, Views

BATCH = 512
FALL = 0.7                                    # share of the images after which the rate falls
PATCHES = [(0.3, 16), (FALL, 32), (1, 64)]    # until which share how many patches are looked at
TAPS = (4, 7)
KEEP_SECONDS = 120


def weights_at_start(x):
    w = vit.initial(cifar.pixels(x[:2000]))
    for name, count in (("fine", FINE), ("coarse", COARSE)):
        w[f"taught.{name}.weight"], w[f"taught.{name}.bias"] = torch.randn(count, vit.WIDTH) * 0.002, torch.zeros(count)
    return w


def cells_of(kept):
    """The cell of the 4 × 4 map in which each patch lies."""
    side = vit.CELLS
    return kept // side // 2 * (side // 2) + kept % side // 2


def loss_of(w, rows, kept, share_of_maps):
    pixels, label, logits, *maps = rows
    got, taps = vit.forward(w, pixels, kept, taps=TAPS)
    got = F.log_softmax(got.float(), 1)
    loss = -(0.7 * logits.softmax(1) + 0.3 * label).mul(got).sum(1).mean()
    if kept is None:
        kept = torch.arange(vit.PATCHES).expand(len(pixels), -1)
    for name, tapped, cells, places in zip(("fine", "coarse"), taps, maps, (kept, cells_of(kept))):
        want = cells.gather(1, places[..., None].expand(-1, -1, cells.shape[2]))
        said = vit.affine(w, f"taught.{name}", F.layer_norm(tapped[:, 1:], (vit.WIDTH,)))
        loss = loss + share_of_maps * (said.float() - want).square().sum(2).mean()
    return loss


def optimisers(w, lr):
    matrices = {k: v for k, v in w.items() if v.ndim == 2 and ".layer." in k}
    return Muon(matrices, lr=lr, decay=0.05), AdamW({k: v for k, v in w.items() if k not in matrices}, lr=lr / 2, decay=0.01)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="cifar_train.npz")
    parser.add_argument("teacher")
    parser.add_argument("views", help="a folder, 0.4 GB a view")
    parser.add_argument("out", type=Path)
    parser.add_argument("--like", required=True, help="the model folder whose config.json is copied")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seen", type=int, default=800_000, help="images in all, repetitions counted")
    parser.add_argument("--most-views", type=int, default=10)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    workers = Workers(args.threads)
    (x, y), (held_x, held_y) = cifar.load(args.images)
    views = Views(args.views, x, y, Teacher(args.teacher))
    w = weights_at_start(x)
    run = Run(args.out, w, *optimisers(w, args.lr))
    steps, a_view = args.seen // BATCH, ROWS // BATCH
    began, kept_at, at_first, recent = time.time(), time.time(), run.step, []

    def held(count, dtype=torch.bfloat16):
        w = {k: v.to(dtype) for k, v in run.w.items()}
        return vit.accuracy(w, lambda rows: cifar.pixels(held_x[:count][rows]).to(dtype), held_y[:count], workers)

    while run.step < steps:
        share, view = run.step / steps, run.step // a_view
        making = view < args.most_views and view >= len(views)
        views.open(view if making else 0)
        for old in range(0 if making else len(views)):
            views.open(old)
        patches = next(count for until, count in PATCHES if share < until)

        def one(leaves, job):
            random = np.random.RandomState([args.seed, run.step, job])
            if making:
                rows = views.make(view, run.step % a_view * BATCH + job * JOB)
            else:
                rows = views.read(random.randint(len(views)), np.sort(random.choice(ROWS, JOB, replace=False)))
            kept = torch.from_numpy(random.rand(JOB, vit.PATCHES).argsort(1)[:, :patches]) if patches < vit.PATCHES else None
            return loss_of(leaves, rows, kept, 1.0 if share < FALL else 0.4)

        gradients, losses = workers.gradients(run.w, range(BATCH // JOB), one)
        for g in gradients.values():
            g.div_(BATCH // JOB)
        clip(gradients, 1.0)
        run.update(gradients, factor_at(run.step / steps, 0.04, FALL), workers)
        recent.append(sum(losses) / len(losses))
        if making and run.step % a_view == 0:
            views.finish(view)
        if run.step == int(FALL * steps):
            run.keep("steady.pt")
        if time.time() - kept_at > KEEP_SECONDS or run.step == steps:
            kept_at = time.time()
            run.keep()
            rate = (run.step - at_first) * BATCH / (kept_at - began)
            print(f"{(kept_at - began) / 60:.1f} min, step {run.step} of {steps}, {patches} patches, loss {np.mean(recent):.3f}, "
                  f"{rate:.0f} images/s, held out (first 1,000) {held(1000):.1f} %", flush=True)
            recent = []
    student = {k: v for k, v in run.w.items() if not k.startswith("taught.")}
    vit.write(student, args.out / "model", args.like)
    stored = vit.load(args.out / "model")
    right = vit.accuracy(stored, lambda rows: cifar.pixels(held_x[rows]), held_y, workers)
    print(f"held out: {right:.2f} % of {len(held_y)} (float32 arithmetic on the stored weights)", flush=True)


if __name__ == "__main__":
    main()
