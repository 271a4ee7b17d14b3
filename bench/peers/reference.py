"""The same models in PyTorch, as transformers runs them."""
import json
from pathlib import Path

import numpy as np
import torch
from transformers import BertModel, GPT2LMHeadModel, ViTForImageClassification

CLASSES = {"vit": ViTForImageClassification, "bert": BertModel, "gpt2": GPT2LMHeadModel}


def load(folder):
    kind = json.loads((Path(folder) / "config.json").read_text())["model_type"]
    options = {"add_pooling_layer": False} if kind == "bert" else {}
    return CLASSES[kind].from_pretrained(folder, **options).eval()


def calls(model, name, inputs, past_rows):
    """(a function that runs the case once and returns its output, past or None, the id after it or None)"""
    if "pixels" in inputs:
        pixels = torch.tensor(inputs["pixels"], dtype=torch.float32).reshape(1, 3, 224, 224)
        return (lambda: model(pixel_values=pixels).logits), None, None
    if not name.startswith("gpt2"):
        ids = torch.tensor([inputs["ids"][: int(name.rsplit("-", 1)[1])]])
        return (lambda: model(input_ids=ids).last_hidden_state), None, None
    ids = torch.tensor([inputs["ids"][:past_rows]])
    if "prefill" in name:
        return (lambda: model(input_ids=ids, use_cache=False, logits_to_keep=1).logits), None, None
    with torch.inference_mode():
        begun = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    cache, following = begun.past_key_values, int(begun.logits[0, -1].argmax())
    one = torch.tensor([[following]])

    def step():
        logits = model(input_ids=one, past_key_values=cache, use_cache=True).logits
        cache.crop(-1)
        return logits

    return step, cache, following


def reference(folder, name, inputs, past_rows):
    """(output, past [2·layers, 1, H, P, d] or None, the id after it or None), as numpy"""
    call, cache, following = calls(load(folder), name, inputs, past_rows)
    past = None
    if cache is not None:
        past = np.stack([t[:, :, :past_rows].numpy() for layer in cache.layers for t in (layer.keys, layer.values)])
    with torch.inference_mode():
        return call().numpy(), past, following
