"""Makes token ids to hold the tokenizers against, with Hugging Face's own `tokenizers` library.

    pip install tokenizers
    python weights-tools/python/tokenizer_goldens.py ../shared/data models/gpt2-chronicle test/fixtures/tokenizers
    npx biome format --write test/fixtures/tokenizers

One file per tokenizer. `lines` and `pairs` name lines of ../shared/data/glue without repeating their text: `sets` gives each
set's file and columns; an entry is [set, line (from 1), ids, hash]. `hash` is the SHA-256, in hex, its first 16 digits,
of the ids as decimal numbers with commas between them, with special tokens; for `pairs` followed by ";" and the token
types in the same way. A line ends with "\\n" ("\\r" before it is no part of it), columns are split at tabs.
`own` are strings of our own that are awkward, with their ids (with special tokens) and what decoding (without) gives.
Truncation and padding are off.
"""
import argparse
import hashlib
import json
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

# file, columns of one sentence or of a pair
SETS = {
    "SST-2": ("SST-2/dev.tsv", [0]),
    "CoLA": ("CoLA/dev.tsv", [3]),
    "RTE": ("RTE/dev.tsv", [1, 2]),
    "STS-B": ("STS-B/dev.tsv", [7, 8]),
    "MRPC": ("MRPC/msr_paraphrase_test.txt", [3, 4]),
    "QNLI": ("QNLI/dev.tsv", [1, 2]),
}
LINES_PER_SET = 50

OWN = [
    "",
    " ",
    "a",
    " a",
    "a ",
    "  two  spaces  ",
    "\ttabs\tand\nnew\r\nlines\n\n\nthree",
    "It's we'll they've I'd you're I'm don't 'tis IT'S O'CLOCK",
    "naïve café, Ångström; Søren Łódź İstanbul ßtraße ﬁne",
    "e\u0301 is \u00e9, decomposed and not",
    "東京都 は 日本の首都。 北京, 서울 한국어",
    "Привет, мир! Γειά σου κόσμε. שלום עולם مرحبا بالعالم हिन्दी ไทย",
    "👍 😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ 𝒻𝓊𝓃",
    "zero\u200bwidth, no\u00a0break, soft\u00adhyphen, \ufeffmark, line\u2028separator",
    "control \u0000\u0001\u0007\u001b[31m\u007f\u0085 chars \ufffd",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101,
    "antidisestablishmentarianism" * 12,
    "1234567890 3.14159 1,000,000 $5.00 50% 1e-9 0x1F 2²",
    "!!!???...,,,;;;:::---___***///\\\\\\|||",
    "https://example.org/a_b-c?d=e&f=%20#g user@example.org C:\\x\\y",
    "function f(x) { return x + 1 } // ok\n    if (a != b) {\n\t\tg()\n    }",
    "“Curly” ‘quotes’ – dashes — and… ellipsis «guillemets» 「brackets」",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <|endoftext|> <s> </s>",
    "a[MASK]b and <|endoftext|><|endoftext|> and <|endoftext|",
    "UPPER lower MiXeD ÀÉÎÕÜ ǅ",
    "the the the the the the the the the the the the the the the the",
    "And it came to pass in those days, that Moby Dick addressed the Congress.",
]
OWN_PAIRS = [["a question?", "An answer."], ["", "b"], ["a", ""], ["", ""], ["[SEP]", "x [SEP] y"], ["東京", "👍"]]


def digest(*rows):
    return hashlib.sha256(";".join(",".join(map(str, row)) for row in rows).encode()).hexdigest()[:16]


def sample(glue):
    """Lines spread evenly over each set: (set, line, texts)."""
    for name, (file, columns) in SETS.items():
        lines = (glue / file).read_bytes().decode("utf-8-sig").split("\n")
        usable = [i for i, line in enumerate(lines) if i > 0 and len(line.split("\t")) > max(columns)]
        for i in usable[:: len(usable) // LINES_PER_SET][:LINES_PER_SET]:
            cells = lines[i].removesuffix("\r").split("\t")
            yield name, i + 1, [cells[column] for column in columns]


def goldens(path, label, glue, with_pairs):
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lines, pairs = [], []
    for name, line, texts in sample(glue):
        one = tokenizer.encode(texts[0])
        lines.append([name, line, len(one.ids), digest(one.ids)])
        if with_pairs and len(texts) == 2:
            two = tokenizer.encode(*texts)
            pairs.append([name, line, len(two.ids), digest(two.ids, two.type_ids)])
    own = []
    for text in OWN:
        ids = tokenizer.encode(text).ids
        own.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    result = {
        "about": "made by weights-tools/python/tokenizer_goldens.py, which tells what the fields mean",
        "tokenizer": label,
        "library": f"tokenizers {tokenizers.__version__}",
        "sets": {name: {"file": f"glue/{file}", "columns": columns} for name, (file, columns) in SETS.items()},
        "lines": lines,
        "pairs": pairs,
        "own": own,
        "ownPairs": [],
    }
    if with_pairs:
        for texts in OWN_PAIRS:
            two = tokenizer.encode(*texts)
            result["ownPairs"].append({"texts": texts, "ids": two.ids, "types": two.type_ids})
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="../shared/data")
    parser.add_argument("chronicle", type=Path, help="models/gpt2-chronicle")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for file, path, label, with_pairs in [
        ("bert-uncased", args.data / "tokenizer-bert-uncased/tokenizer.json", "shared/data/tokenizer-bert-uncased", True),
        ("gpt2", args.data / "tokenizer-gpt2/tokenizer.json", "shared/data/tokenizer-gpt2", False),
        ("gpt2-chronicle", args.chronicle / "tokenizer.json", "models/gpt2-chronicle", False),
    ]:
        result = goldens(path, label, args.data / "glue", with_pairs)
        target = args.out / f"{file}.json"
        target.write_text(json.dumps(result, ensure_ascii=True) + "\n")
        print(target, len(result["lines"]), "lines", len(result["pairs"]), "pairs", len(result["own"]), "own,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
