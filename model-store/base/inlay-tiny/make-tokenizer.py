"""Trains tokenizer.json: byte-level BPE on documents of the corpus, one JSON string a line on standard input.

Needs tokenizers==0.23.3 (pip install tokenizers==0.23.3); the README beside this file has the command.
Numbers are split into digits, so that a number is spelled and not learned by heart.
"""
import json
import sys

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PATTERN = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def main(path, vocabulary):
    if tokenizers.__version__ != "0.23.3":
        raise SystemExit(f"tokenizers {tokenizers.__version__} may train another vocabulary: install tokenizers==0.23.3")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((json.loads(line) for line in sys.stdin), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B", special_tokens=[("<|begin|>", 0)])
    tokenizer.save(path)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
