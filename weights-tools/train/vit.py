"""A ViT's forward over plain tensors under the names that Hugging Face publishes, quick to train on CPUs in bfloat16.

D width, H heads, N rows (class token and patches), B images.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

WIDTH, LAYERS, HEADS, SIDE, PATCH = 192, 9, 3, 32, 4
CELLS = SIDE // PATCH
PATCHES, INPUTS = CELLS**2, 3 * PATCH**2
EMBEDDINGS = "vit.embeddings."


def layer(i):
    return f"vit.encoder.layer.{i}."


def initial(images):
    """Patches whitened over the images, sines of row and column as positions, keys that begin as the queries."""
    w = {}

    def affine(name, inputs, outputs, std):
        w[name + ".weight"], w[name + ".bias"] = torch.randn(outputs, inputs) * std, torch.zeros(outputs)

    def norm(name):
        w[name + ".weight"], w[name + ".bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)

    patches = patches_of(images).reshape(-1, INPUTS)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    white = (vectors / (values + 1e-3).sqrt()).T                                    # [48, 48]
    spread = torch.linalg.qr(torch.randn(WIDTH, INPUTS))[0]
    w[EMBEDDINGS + "patch_embeddings.projection.weight"] = (spread @ white).reshape(WIDTH, 3, PATCH, PATCH)
    w[EMBEDDINGS + "patch_embeddings.projection.bias"] = torch.zeros(WIDTH)
    w[EMBEDDINGS + "cls_token"] = torch.randn(1, 1, WIDTH) * 0.1
    w[EMBEDDINGS + "position_embeddings"] = torch.cat([torch.zeros(1, WIDTH), sines()])[None]
    for i in range(LAYERS):
        attention = layer(i) + "attention."
        for name in ("query", "key", "value"):
            affine(attention + "attention." + name, WIDTH, WIDTH, 0.5 * WIDTH**-0.5)
        w[attention + "attention.key.weight"] = w[attention + "attention.query.weight"].clone()
        affine(attention + "output.dense", WIDTH, WIDTH, 0.01)
        affine(layer(i) + "intermediate.dense", WIDTH, 4 * WIDTH, 0.5 * WIDTH**-0.5)
        affine(layer(i) + "output.dense", 4 * WIDTH, WIDTH, 0.01)
        norm(layer(i) + "layernorm_before")
        norm(layer(i) + "layernorm_after")
    norm("vit.layernorm")
    affine("classifier", WIDTH, 10, 0.01)
    return w


def sines():
    """Positions of the patches, half of the width for the row and half for the column: [64, D]."""
    place = torch.arange(CELLS).float()
    rate = torch.exp(-torch.linspace(0, 4, WIDTH // 4))
    wave = torch.cat([(place[:, None] * rate).sin(), (place[:, None] * rate).cos()], 1) * 0.35
    return torch.cat([wave[:, None].expand(-1, CELLS, -1), wave[None].expand(CELLS, -1, -1)], 2).reshape(PATCHES, WIDTH)


def patches_of(pixels):
    """[B, 3, 32, 32] -> [B, 64, 48], each patch as the projection's weights lie."""
    x = pixels.reshape(-1, 3, CELLS, PATCH, CELLS, PATCH)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, PATCHES, INPUTS)


def affine(w, name, x):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def norm(w, name, x):
    return F.layer_norm(x, (WIDTH,), w[name + ".weight"], w[name + ".bias"], 1e-12)


def attention(w, i, h, plan=None):
    """h [B, N, D] after the LayerNorm -> [B, N, D]. `plan`: what stands in for rows of other devices, see `means.py`."""
    name = layer(i) + "attention."
    B, N, _ = h.shape
    seen = h if plan is None else torch.cat([h, plan.average.to(h.dtype) @ h], 1)      # [B, M, D]
    q, k, v = (affine(w, name + "attention." + part, rows).view(B, rows.shape[1], HEADS, -1).transpose(1, 2)
               for part, rows in (("query", h), ("key", seen), ("value", seen)))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if plan is not None:
        scores = scores + plan.gain.to(h.dtype)
    return affine(w, name + "output.dense", (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, N, WIDTH))


def forward(w, pixels, kept=None, plan=None, taps=()):
    """Pixels [B, 3, 32, 32] -> (logits [B, 10], rows [B, N, D] after each layer in `taps`).

    `kept` [B, K] are the patches that are looked at, all without it.
    """
    position = w[EMBEDDINGS + "position_embeddings"][0]
    patches, places = patches_of(pixels.to(position.dtype)), position[1:]
    if kept is not None:
        patches, places = patches.gather(1, kept[..., None].expand(-1, -1, INPUTS)), places[kept]
    projection = EMBEDDINGS + "patch_embeddings.projection"
    x = F.linear(patches, w[projection + ".weight"].flatten(1), w[projection + ".bias"]) + places
    x = torch.cat([(w[EMBEDDINGS + "cls_token"] + position[:1]).expand(len(x), -1, -1), x], 1)
    tapped = []
    for i in range(LAYERS):
        x = x + attention(w, i, norm(w, layer(i) + "layernorm_before", x), plan)
        h = affine(w, layer(i) + "intermediate.dense", norm(w, layer(i) + "layernorm_after", x))
        x = x + affine(w, layer(i) + "output.dense", F.gelu(h))
        if i in taps:
            tapped.append(x)
    return affine(w, "classifier", norm(w, "vit.layernorm", x[:, 0])), tapped


def accuracy(w, pixels, labels, workers, plan=None, batch=250):
    """Percent right; arithmetic in the weights' type."""
    def right(i):
        with torch.no_grad():
            return int((forward(w, pixels(slice(i, i + batch)), plan=plan)[0].argmax(1) == labels[i:i + batch]).sum())

    return 100 * sum(workers.map(right, range(0, len(labels), batch))) / len(labels)


def load(folder):
    return {name: w.float() for name, w in load_file(Path(folder) / "model.safetensors").items()}


def write(w, folder, like):
    """A Hugging Face folder in float16, with the configuration and preprocessor of the model in `like`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text((Path(like) / name).read_text())
    config = json.loads((folder / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]) == (WIDTH, LAYERS, HEADS)
    save_file({name: v.half().contiguous() for name, v in w.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)                                        # save_file leaves it unreadable to others
