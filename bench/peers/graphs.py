"""ONNX graphs of ViT, BERT and GPT-2, written by hand: every operator is the fastest that onnxruntime has for it.

Letters: N rows, P rows of past, D width, H heads, d head width, F inner width.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
MICROSOFT = "com.microsoft"


class Graph:
    """Nodes, weights, inputs and outputs as they are added; names are made up."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.count = 0

    def input(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value, name, shape):
        self.add("Identity", [value], name=name)
        self.outputs.append(helper.make_tensor_value_info(name, FLOAT, shape))

    def weight(self, values):
        values = np.asarray(values, order="C")
        self.count += 1
        name = f"w{self.count}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def ints(self, *values):
        return self.weight(np.array(values, dtype=np.int64))

    def add(self, kind, inputs, domain="", outputs=1, name=None, **attributes):
        self.count += 1
        names = [name or f"v{self.count}"] if outputs == 1 else [f"v{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, name=f"n{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x, weight, bias):
        """x [.., k] · weight [k, n] + bias [n]"""
        return self.add("Add", [self.add("MatMul", [x, self.weight(weight)]), self.weight(bias)])

    def norm(self, x, gain, bias, eps):
        return self.add("LayerNormalization", [x, self.weight(gain), self.weight(bias)], axis=-1, epsilon=eps)

    def add_and_norm(self, x, skip, skip_bias, norm, eps):
        """(norm(x + skip + skip_bias), x + skip + skip_bias)"""
        gain, bias = norm
        inputs = [x, skip, self.weight(gain), self.weight(bias), self.weight(skip_bias)]
        outs = self.add("SkipLayerNormalization", inputs, MICROSOFT, outputs=4, epsilon=eps)
        node = self.nodes[-1]
        # The mean and deviation in between are for training.
        node.output[1], node.output[2] = "", ""
        return outs[0], outs[3]

    def gelu(self, x, bias, tanh):
        kind = "FastGelu" if tanh else "BiasGelu"
        return self.add(kind, [x, self.weight(bias)], MICROSOFT)

    def model(self):
        graph = helper.make_graph(self.nodes, "prismal-peer", self.inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def encoder_attention(g, x, qkv_weight, qkv_bias, heads):
    """x [1, N, D] → softmax(q kᵀ / √d) v, the projection included"""
    return g.add("Attention", [x, g.weight(qkv_weight), g.weight(qkv_bias)], MICROSOFT, num_heads=heads)


def qkv_of(w, names):
    """Stored [out, in] each → one [in, 3·out] and its bias"""
    weight = np.concatenate([w[f"{n}.weight"].T for n in names], axis=1)
    return weight, np.concatenate([w[f"{n}.bias"] for n in names])


def pair(w, name):
    return w[f"{name}.weight"], w[f"{name}.bias"]


def vit(w, config, pixels="pixels"):
    """pixels [1, 3, S, S] → logits [1, classes]"""
    D, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    S, patch = config["image_size"], config["patch_size"]
    g = Graph()
    g.input(pixels, FLOAT, [1, 3, S, S])
    kernel, bias = pair(w, "vit.embeddings.patch_embeddings.projection")
    patches = g.add("Conv", [pixels, g.weight(kernel), g.weight(bias)], strides=[patch, patch])
    patches = g.add("Transpose", [g.add("Reshape", [patches, g.ints(1, D, -1)])], perm=[0, 2, 1])
    x = g.add("Concat", [g.weight(w["vit.embeddings.cls_token"]), patches], axis=1)
    x = g.add("Add", [x, g.weight(w["vit.embeddings.position_embeddings"])])
    layers = config["num_hidden_layers"]
    at = "vit.encoder.layer.{}.".format
    normed = g.norm(x, *pair(w, at(0) + "layernorm_before"), eps)
    for i in range(layers):
        a = at(i)
        o = encoder_attention(g, normed, *qkv_of(w, [f"{a}attention.attention.{n}" for n in ("query", "key", "value")]), heads)
        out, out_bias = pair(w, a + "attention.output.dense")
        o = g.add("MatMul", [o, g.weight(out.T)])
        normed, x = g.add_and_norm(x, o, out_bias, pair(w, a + "layernorm_after"), eps)
        up, up_bias = pair(w, a + "intermediate.dense")
        h = g.gelu(g.add("MatMul", [normed, g.weight(up.T)]), up_bias, tanh=False)
        down, down_bias = pair(w, a + "output.dense")
        h = g.add("MatMul", [h, g.weight(down.T)])
        following = pair(w, at(i + 1) + "layernorm_before" if i + 1 < layers else "vit.layernorm")
        normed, x = g.add_and_norm(x, h, down_bias, following, eps)
    first = g.add("Gather", [normed, g.weight(np.array(0, dtype=np.int64))], axis=1)
    classes, class_bias = pair(w, "classifier")
    g.output(g.linear(first, classes.T, class_bias), "logits", [1, len(class_bias)])
    return g.model()


def bert(w, config, rows):
    """ids [1, N] → the last hidden state [1, N, D]"""
    D, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    g = Graph()
    ids = g.input("ids", INT64, [1, rows])
    words = g.add("Gather", [g.weight(w["embeddings.word_embeddings.weight"]), ids])
    types = w["embeddings.token_type_embeddings.weight"][0]
    places = w["embeddings.position_embeddings.weight"][:rows] + types
    x = g.norm(g.add("Add", [words, g.weight(places)]), *pair(w, "embeddings.LayerNorm"), eps)
    for i in range(config["num_hidden_layers"]):
        a = f"encoder.layer.{i}."
        o = encoder_attention(g, x, *qkv_of(w, [f"{a}attention.self.{n}" for n in ("query", "key", "value")]), heads)
        out, out_bias = pair(w, a + "attention.output.dense")
        o = g.add("MatMul", [o, g.weight(out.T)])
        x, _ = g.add_and_norm(x, o, out_bias, pair(w, a + "attention.output.LayerNorm"), eps)
        up, up_bias = pair(w, a + "intermediate.dense")
        h = g.gelu(g.add("MatMul", [x, g.weight(up.T)]), up_bias, tanh=False)
        down, down_bias = pair(w, a + "output.dense")
        x, _ = g.add_and_norm(x, g.add("MatMul", [h, g.weight(down.T)]), down_bias, pair(w, a + "output.LayerNorm"), eps)
    g.output(x, "hidden", [1, rows, D])
    return g.model()


def gpt2(w, config, rows, past):
    """ids [1, N] (and 2·layers of past [1, H, P, d] where `past` > 0) → the last row's logits [1, V] (and the present)"""
    D, heads, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]
    d, layers = D // heads, config["n_layer"]
    g = Graph()
    ids = g.input("ids", INT64, [1, rows])
    wte = w["transformer.wte.weight"]
    words = g.add("Gather", [g.weight(wte), ids])
    x = g.add("Add", [words, g.weight(w["transformer.wpe.weight"][past : past + rows])])
    at = "transformer.h.{}.".format
    normed = g.norm(x, *pair(w, at(0) + "ln_1"), eps)
    split = lambda y: g.add("Transpose", [g.add("Reshape", [y, g.ints(1, -1, heads, d)])], perm=[0, 2, 1, 3])
    for i in range(layers):
        a = at(i)
        if past == 0:
            weights = [g.weight(v) for v in pair(w, a + "attn.c_attn")]
            o = g.add("Attention", [normed, *weights], MICROSOFT, num_heads=heads, unidirectional=1)
        else:
            qkv = g.linear(normed, *pair(w, a + "attn.c_attn"))
            q, k, v = g.add("Split", [qkv], outputs=3, axis=-1, num_outputs=3)
            kept = [g.input(f"past_{n}_{i}", FLOAT, [1, heads, past, d]) for n in ("key", "value")]
            inputs = [q, k, v, "", "", "", *kept]
            o, *present = g.add("MultiHeadAttention", inputs, MICROSOFT, outputs=3, num_heads=heads)
            for name, value in zip(("key", "value"), present):
                g.output(value, f"present_{name}_{i}", [1, heads, past + rows, d])
        out, out_bias = pair(w, a + "attn.c_proj")
        o = g.add("MatMul", [o, g.weight(out)])
        normed, x = g.add_and_norm(x, o, out_bias, pair(w, a + "ln_2"), eps)
        up, up_bias = pair(w, a + "mlp.c_fc")
        h = g.gelu(g.add("MatMul", [normed, g.weight(up)]), up_bias, tanh=True)
        down, down_bias = pair(w, a + "mlp.c_proj")
        h = g.add("MatMul", [h, g.weight(down)])
        following = pair(w, at(i + 1) + "ln_1" if i + 1 < layers else "transformer.ln_f")
        normed, x = g.add_and_norm(x, h, down_bias, following, eps)
    last = g.add("Gather", [normed, g.weight(np.array(-1, dtype=np.int64))], axis=1)
    g.output(g.add("MatMul", [last, g.weight(wte.T)]), "logits", [1, len(wte)])
    return g.model()


def save(model, path):
    onnx.save(model, path)
