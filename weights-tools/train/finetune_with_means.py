"""Finetunes the ViT with segment means in its forward, as the last row of the paper's table does.

    python finetune_with_means.py cifar_train.npz teacher.pt views/ ../../models/vit-cifar10 out/ --plan 2:3 --order raster --seen 40000

Give `--plan P:L` more than once to train for several plans at a time; each batch of 64 draws one. Prints the accuracy on the held-out
images before and after, at each plan and on one device: what the same training does to one device tells how much of a gain is the means'.
Reads at least one view that train_vit.py made.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import cifar
import means
import vit
from optimisers import AdamW, clip
from parallel import Workers
from train_teacher import Teacher
from views import JOB, ROWS, Views

BATCH = 256


def measured(w, plans, x, y, workers):
    pixels = lambda rows: cifar.pixels(x[rows])
    return {name: round(vit.accuracy(w, pixels, y, workers, plan), 2) for name, plan in plans.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="cifar_train.npz")
    parser.add_argument("teacher")
    parser.add_argument("views")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", action="append", required=True, help="P:L, devices and means each makes")
    parser.add_argument("--order", choices=means.ORDERS, default="raster")
    parser.add_argument("--sink", type=int, default=0, help="leading rows sent exactly")
    parser.add_argument("--seen", type=int, default=40_000, help="images in all")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=int, default=5000, help="held-out images to measure on")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    workers = Workers(args.threads)
    (x, y), (held_x, held_y) = cifar.load(args.images)
    held_x, held_y = held_x[:args.measure], held_y[:args.measure]
    views = Views(args.views, x, y, Teacher(args.teacher))
    assert len(views) > 0, f"{args.views} has no finished view: run train_vit.py first"
    for view in range(len(views)):
        views.open(view)
    plans = {name: means.plan(vit.CELLS, *map(int, name.split(":")), args.order, args.sink) for name in args.plan}
    everything = {"one device": None, **plans}
    w = vit.load(args.model)
    before = measured(w, everything, held_x, held_y, workers)
    print("before", before, flush=True)
    optimiser, steps, began = AdamW(w, args.lr, decay=0.01), args.seen // BATCH, time.time()
    for step in range(steps):
        def loss_of(leaves, job):
            random = np.random.RandomState([args.seed, step, job])
            pixels, label, logits, *_ = views.read(random.randint(len(views)), np.sort(random.choice(ROWS, JOB, replace=False)))
            plan = plans[args.plan[random.randint(len(args.plan))]]
            said = F.log_softmax(vit.forward(leaves, pixels, plan=plan)[0].float(), 1)
            return -(0.7 * logits.softmax(1) + 0.3 * label).mul(said).sum(1).mean()

        gradients, losses = workers.gradients(w, range(BATCH // JOB), loss_of)
        for g in gradients.values():
            g.div_(BATCH // JOB)
        clip(gradients, 1.0)
        optimiser.step(gradients, min(1, (step + 1) / 10) * (1 - step / steps))
        if step % 20 == 19:
            print(f"{(time.time() - began) / 60:.1f} min, step {step + 1} of {steps}, loss {np.mean(losses):.3f}", flush=True)
    vit.write(w, args.out, args.model)
    after = measured(vit.load(args.out), everything, held_x, held_y, workers)
    print("after ", after, flush=True)
    (args.out / "training.json").write_text(json.dumps({"from": args.model.name, "plans": args.plan, "order": args.order, "sink": args.sink, "seen": steps * BATCH,
                                                       "lr": args.lr, "seed": args.seed, "held out": len(held_y), "before": before, "after": after}) + "\n")


if __name__ == "__main__":
    main()
