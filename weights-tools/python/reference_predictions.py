"""Predicts whole test sets in plain PyTorch (float32), as something to hold `prismal eval` on one device against.

    pip install torch transformers safetensors numpy tokenizers
    python weights-tools/python/reference_predictions.py ../shared/data out/ --vit models/vit-cifar10 --mnist bench/.cache/vit-mnist --bert finetuned/minilm-rte finetuned/minilm-cola

One JSON file a data set: `columns` as a cell of `prismal eval` has them (`predicted`, class numbers; `margin`, the largest logit less
the second; a difference where the margin is tiny is rounding), digests of model and data, versions. Labels are not read and no
accuracy is computed: these files are for comparing, not for choosing. Sequences are computed one by one, without padding.
A BERT's task is read from the `training.json` that finetune.py writes, or given as FOLDER:TASK.
"""
import argparse
import gzip
import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

GLUE = {  # file below the data folder, the texts' columns, whether a header comes first
    "cola": ("glue/CoLA/dev.tsv", [3], False),
    "rte": ("glue/RTE/dev.tsv", [1, 2], True),
    "sst2": ("glue/SST-2/dev.tsv", [0], True),
    "mrpc": ("glue/MRPC/msr_paraphrase_test.txt", [3, 4], True),
    "qnli": ("QNLI-rest.tsv", [1, 2], True),                              # below the model's folder
}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(out, name, model, data, logits, note=None):
    top = logits.topk(2, 1)
    result = {
        "about": "made by weights-tools/python/reference_predictions.py",
        "model": {"name": model.parent.name, "sha256": sha256(model)},
        "data": {"name": data.name, "sha256": sha256(data), "items": len(logits)},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version()},
        "columns": {"predicted": top.indices[:, 0].tolist(), "margin": [round(float(m), 6) for m in top.values[:, 0] - top.values[:, 1]]},
    }
    if note:
        result["note"] = note
    (out / f"{name}.json").write_text(json.dumps(result) + "\n")
    print(f"{name}: {len(logits)} predictions, smallest margin {min(result['columns']['margin']):.6f}", flush=True)


def cifar(args):
    data = args.data / "cifar10-test/test_batch.bin.gz"
    records = np.frombuffer(gzip.open(data).read(), np.uint8).reshape(-1, 3073)
    images = torch.from_numpy(records[:args.limit, 1:].reshape(-1, 3, 32, 32).copy())
    model = transformers.ViTForImageClassification.from_pretrained(args.vit, dtype=torch.float32).eval()
    spec = json.loads((args.vit / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(spec[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    logits = [model((part.float() * spec["rescale_factor"] - mean) / std).logits for part in images.split(100)]
    write(args.out, f"cifar10-{args.vit.name}", args.vit / "model.safetensors", data, torch.cat(logits))


def mnist(args):
    import torch.nn.functional as F
    from mnist_predictions import MEAN, STD, forward, read_digits

    checkpoint = args.data / "vit-mnist-researchase/vit_mnist_gpu.pt"
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    images, _ = read_digits(args.data / "mnist-t10k")
    pixels = (torch.from_numpy(images[:args.limit].astype(np.float32)) / 255 - MEAN) / STD
    name = json.loads((args.mnist / "config.json").read_text())["hidden_act"]
    logits = torch.cat([forward(weights, part, {"relu": F.relu, "gelu": F.gelu}[name]) for part in pixels.split(100)])
    digits = args.data / "mnist-t10k/t10k-images-idx3-ubyte.gz"
    write(args.out, f"mnist-{name}", args.mnist / "model.safetensors", digits, logits, f"the checkpoint itself, MLPs with {name}")


def bert(args, given):
    folder, _, task = given.partition(":")
    folder = Path(folder)
    task = task or json.loads((folder / "training.json").read_text())["task"]
    file, columns, header = GLUE[task]
    data = folder / file if task == "qnli" else args.data / file
    rows = [line.split("\t") for line in data.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")][header:][:args.limit]
    own = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(own if own.exists() else args.data / "tokenizer-bert-uncased/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = transformers.BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    logits = []
    for row in rows:
        texts = [row[c] for c in columns]
        encoded = tokenizer.encode(*texts)
        logits.append(model(input_ids=torch.tensor([encoded.ids]), token_type_ids=torch.tensor([encoded.type_ids])).logits)
    write(args.out, f"{task}-{folder.name}", folder / "model.safetensors", data, torch.cat(logits))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="../shared/data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--vit", type=Path, help="predict CIFAR-10's test images with this model")
    parser.add_argument("--mnist", type=Path, help="predict MNIST's test digits with the shared checkpoint, which was converted into this folder")
    parser.add_argument("--bert", nargs="*", default=[], metavar="FOLDER[:TASK]", help="predict the dev (MRPC: test) set of each one's task")
    parser.add_argument("--limit", type=int, help="only the first items")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        if args.vit:
            cifar(args)
        if args.mnist:
            mnist(args)
        for folder in args.bert:
            bert(args, folder)


if __name__ == "__main__":
    main()
