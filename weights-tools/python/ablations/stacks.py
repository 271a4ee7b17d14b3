"""ViT, GPT-2 and BERT stacks in PyTorch behind one interface, for simulate.py. Letters: B inputs, N rows, D width, H heads.

A stack has `layers`, `heads`, `causal`, `embed(inputs)` → [B, N, D], `norm1(i, x)`, `affine(i)` (γ and β of that norm, or None),
`qkv(i)` (weight [3D, D] and bias), `scale(i)`, `rest(i, x, o)` and `head(x)`. Products run in `dtype`, the residual stream in float32.
"""
import json
from pathlib import Path
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

ACT = {"gelu": F.gelu, "relu": F.relu, **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh"), lambda x: F.gelu(x, approximate="tanh"))}


class Stack:
    causal = False

    def __init__(self, config, weights, dtype):
        self.c, self.w, self.dtype = config, {k: v.float() for k, v in weights.items()}, dtype
        self.low = {}

    def linear(self, x, *names):
        """x [.., in] by the weights of these names side by side."""
        if names not in self.low:
            turn = (lambda w: w.T) if self.conv1d else (lambda w: w)
            w = torch.cat([turn(self.w[n + ".weight"]) for n in names]).to(self.dtype).contiguous()
            self.low[names] = w, torch.cat([self.w[n + ".bias"] for n in names]).to(self.dtype)
        return F.linear(x.to(self.dtype), *self.low[names])

    conv1d = False

    def ln(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], self.eps)

    def scale(self, i, d):
        return d**-0.5


class Vit(Stack):
    def __init__(self, *args):
        super().__init__(*args)
        c = self.c
        self.layers, self.heads, self.eps, self.act = c["num_hidden_layers"], c["num_attention_heads"], c["layer_norm_eps"], ACT[c["hidden_act"]]

    def embed(self, pixels):
        """[B, C, S, S] → [B, N, D], CLS first."""
        n = "vit.embeddings."
        x = F.conv2d(pixels, self.w[n + "patch_embeddings.projection.weight"], self.w[n + "patch_embeddings.projection.bias"], stride=self.c["patch_size"])
        x = torch.cat([self.w[n + "cls_token"].expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], 1)
        return x + self.w[n + "position_embeddings"]

    def n(self, i, s): return f"vit.encoder.layer.{i}.{s}"
    def norm1(self, i, x): return self.ln(x, self.n(i, "layernorm_before"))
    def affine(self, i): return self.w[self.n(i, "layernorm_before.weight")], self.w[self.n(i, "layernorm_before.bias")]
    def q(self, i, x): return self.linear(x, self.n(i, "attention.attention.query"))
    def kv(self, i, x): return self.linear(x, self.n(i, "attention.attention.key"), self.n(i, "attention.attention.value"))

    def rest(self, i, x, o):
        x = x + self.linear(o, self.n(i, "attention.output.dense"))
        h = self.ln(x, self.n(i, "layernorm_after"))
        return x + self.linear(self.act(self.linear(h, self.n(i, "intermediate.dense"))), self.n(i, "output.dense"))

    def head(self, x):
        """Row 0 of each input [B, 1, D] → logits [B, classes]."""
        h = F.layer_norm(x[:, 0], x.shape[-1:], self.w["vit.layernorm.weight"], self.w["vit.layernorm.bias"], self.eps)
        return F.linear(h, self.w["classifier.weight"], self.w["classifier.bias"])


class Bert(Stack):
    def __init__(self, config, weights, dtype):
        old = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
        named = {}
        for k, v in weights.items():
            k = k.removeprefix("bert.")
            for a, b in old.items():
                k = k.replace(a, b)
            named[k] = v
        super().__init__(config, named, dtype)
        c = self.c
        self.layers, self.heads, self.eps, self.act = c["num_hidden_layers"], c["num_attention_heads"], c["layer_norm_eps"], ACT[c["hidden_act"]]

    def embed(self, ids, types=None):
        """[B, N] ids and type ids → [B, N, D]."""
        n = "embeddings."
        types = torch.zeros_like(ids) if types is None else types
        x = self.w[n + "word_embeddings.weight"][ids] + self.w[n + "token_type_embeddings.weight"][types]
        return self.ln(x + self.w[n + "position_embeddings.weight"][: ids.shape[1]], n + "LayerNorm")

    def n(self, i, s): return f"encoder.layer.{i}.{s}"
    def norm1(self, i, x): return x
    def affine(self, i):
        n = "embeddings.LayerNorm" if i == 0 else self.n(i - 1, "output.LayerNorm")
        return self.w[n + ".weight"], self.w[n + ".bias"]
    def q(self, i, x): return self.linear(x, self.n(i, "attention.self.query"))
    def kv(self, i, x): return self.linear(x, self.n(i, "attention.self.key"), self.n(i, "attention.self.value"))

    def rest(self, i, x, o):
        x = self.ln(x + self.linear(o, self.n(i, "attention.output.dense")), self.n(i, "attention.output.LayerNorm"))
        h = self.linear(self.act(self.linear(x, self.n(i, "intermediate.dense"))), self.n(i, "output.dense"))
        return self.ln(x + h, self.n(i, "output.LayerNorm"))

    def head(self, x):
        """All rows → the normalised mean [B, D]; with a classifier, row 0 → logits."""
        if "classifier.weight" in self.w:
            pooled = torch.tanh(F.linear(x[:, 0], self.w["pooler.dense.weight"], self.w["pooler.dense.bias"]))
            return F.linear(pooled, self.w["classifier.weight"], self.w["classifier.bias"])
        return F.normalize(x.mean(1), dim=-1)


class Gpt2(Stack):
    causal = conv1d = True

    def __init__(self, config, weights, dtype):
        super().__init__(config, {k.removeprefix("transformer."): v for k, v in weights.items()}, dtype)
        c = self.c
        self.layers, self.heads, self.eps, self.act = c["n_layer"], c["n_head"], c["layer_norm_epsilon"], ACT[c["activation_function"]]
        D = c["n_embd"]
        for i in range(self.layers):                                # q apart from k and v, as in the others
            w, b = self.w[f"h.{i}.attn.c_attn.weight"], self.w[f"h.{i}.attn.c_attn.bias"]
            for s, at in (("q", slice(0, D)), ("kv", slice(D, None))):
                self.w[f"h.{i}.attn.{s}.weight"], self.w[f"h.{i}.attn.{s}.bias"] = w[:, at], b[at]

    def embed(self, ids): return self.w["wte.weight"][ids] + self.w["wpe.weight"][: ids.shape[1]]
    def norm1(self, i, x): return self.ln(x, f"h.{i}.ln_1")
    def affine(self, i): return self.w[f"h.{i}.ln_1.weight"], self.w[f"h.{i}.ln_1.bias"]
    def q(self, i, x): return self.linear(x, f"h.{i}.attn.q")
    def kv(self, i, x): return self.linear(x, f"h.{i}.attn.kv")

    def rest(self, i, x, o):
        x = x + self.linear(o, f"h.{i}.attn.c_proj")
        return x + self.linear(self.act(self.linear(self.ln(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")), f"h.{i}.mlp.c_proj")

    def head(self, x):
        """[B, n, D] → logits [B, n, vocabulary] in the products' precision."""
        if "head" not in self.low:
            self.low["head"] = self.w["wte.weight"].to(self.dtype)
        return F.linear(self.ln(x, "ln_f").to(self.dtype), self.low["head"])


def load(folder, dtype=torch.float32):
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(next(p for p in (folder / "model.safetensors", folder / "model.fp16.safetensors") if p.exists()))
    return {"vit": Vit, "bert": Bert, "gpt2": Gpt2}[config["model_type"]](config, weights, dtype)
