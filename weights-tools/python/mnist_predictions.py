"""Predicts MNIST test digits with the shared ViT checkpoint in plain PyTorch, as something to hold the converted model against.

    pip install torch numpy
    python weights-tools/python/mnist_predictions.py ../shared/data test/fixtures/mnist/predictions.json
    npx biome format --write test/fixtures/mnist

The forward is the one of the repository that the checkpoint comes from (github:researchase/vit-mnist-explorations,
train_gpu.py), without its class. That file trains with ReLU in the MLP and normalises by 0.1307 and 0.3081; with these the
whole test set gives the 9,721 of 10,000 that its log ends with. ../shared/data calls the model GELU, as the library's
own is; the checkpoint does not say, so both are written here.
"""
import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

HEADS, HEAD_WIDTH, PATCH, MEAN, STD = 4, 64, 4, 0.1307, 0.3081
DIGITS, WITH_LOGITS, CLOSE = 1000, 50, 0.1


def read_digits(folder):
    """IDX files: a header of 16 or 8 bytes, then bytes."""
    images = np.frombuffer(gzip.open(folder / "t10k-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    labels = np.frombuffer(gzip.open(folder / "t10k-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels


def forward(w, pixels, activation):                                     # [B, 28, 28] -> [B, 10]
    def affine(x, name):
        return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"])

    B, side, _ = pixels.shape
    g = side // PATCH
    patches = pixels.reshape(B, g, PATCH, g, PATCH).transpose(2, 3).reshape(B, g * g, PATCH * PATCH)
    x = affine(patches, "to_patch_embedding.1")
    x = torch.cat([w["cls_token"].expand(B, -1, -1), x], 1) + w["pos_embedding"]
    N, i = x.shape[1], 0
    while f"transformer.layers.{i}.0.norm.weight" in w:
        layer = f"transformer.layers.{i}"
        qkv = affine(norm(x, layer + ".0.norm"), layer + ".0.fn.to_qkv").chunk(3, -1)
        q, k, v = (t.reshape(B, N, HEADS, HEAD_WIDTH).transpose(1, 2) for t in qkv)
        o = torch.softmax(q @ k.transpose(-1, -2) * HEAD_WIDTH**-0.5, -1) @ v
        x = x + affine(o.transpose(1, 2).reshape(B, N, HEADS * HEAD_WIDTH), layer + ".0.fn.to_out.0")
        x = x + affine(activation(affine(norm(x, layer + ".1.norm"), layer + ".1.fn.net.0")), layer + ".1.fn.net.3")
        i += 1
    return affine(norm(x[:, 0], "mlp_head.0"), "mlp_head.1")


def describe(logits, labels):
    predicted = logits.argmax(1)
    top = np.sort(logits, 1)
    margins = top[:, -1] - top[:, -2]
    return {
        "correct": int((predicted == labels).sum()),
        "accuracy": round(float((predicted == labels).mean()), 4),
        "accuracyFirst300": round(float((predicted == labels)[:300].mean()), 4),
        "smallestMargin": round(float(margins.min()), 5),
        "closeMargin": CLOSE,
        "close": np.flatnonzero(margins < CLOSE).tolist(),
        "predicted": "".join(map(str, predicted)),
        "logits": [[round(float(value), 5) for value in row] for row in logits[:WITH_LOGITS]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="../shared/data")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    weights = torch.load(args.data / "vit-mnist-researchase/vit_mnist_gpu.pt", map_location="cpu", weights_only=True)
    images, labels = read_digits(args.data / "mnist-t10k")
    pixels = (torch.from_numpy(images[:DIGITS].astype(np.float32)) / 255 - MEAN) / STD
    result = {
        "about": "made by weights-tools/python/mnist_predictions.py; margin: largest logit less the second; close: indices of the digits below closeMargin",
        "checkpoint": "vit-mnist-researchase/vit_mnist_gpu.pt",
        "digits": DIGITS,
        "imageMean": MEAN,
        "imageStd": STD,
        "torch": torch.__version__,
        "labels": "".join(map(str, labels[:DIGITS])),
        "activations": {},
    }
    for name, activation in {"relu": F.relu, "gelu": F.gelu}.items():
        with torch.no_grad():
            logits = torch.cat([forward(weights, batch, activation) for batch in pixels.split(250)]).numpy()
        result["activations"][name] = describe(logits, labels[:DIGITS])
        print(name, {k: v for k, v in result["activations"][name].items() if k not in ("predicted", "logits")})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
