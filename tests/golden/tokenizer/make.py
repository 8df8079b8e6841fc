"""Two small tokenizers, as LLaMA 3 and LLaMA 2 have them, and what Hugging Face's library makes of difficult text.

python make.py    writes byte-level/, metaspace/ and their cases.json beside this file; see README.md
"""

import json
import pathlib

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = pathlib.Path(__file__).parent
VOCABULARY = 512

# Written for this file; it only has to make merges in several scripts.
TEXT = """
An inlay is a tile set flush into a surface: nothing sticks out. The server answers the question, and the answer is the question's server.
The train stops at the station, the station stops the train; where there is a when there is a then, and then there is another one.
Numbers: 1, 2, 3, 12, 123, 1234, 12345, 2026-11-24, 3.14159, 1,000,000. We're sure they'll say it's what you've said I'd do, don't they?
Eine Intarsie liegt bündig in der Fläche: nichts steht über. Größe, Straße, Übermaß, Äpfel und Öl; die Züge halten, die Züge fahren.
Une marqueterie est posée à fleur : rien ne dépasse. Où êtes-vous, garçon ? L'été, la forêt, le cœur, les œuvres et la naïveté.
Una taracea queda al ras: nada sobresale. ¿Dónde está el niño? ¡Mañana, señor! El año que viene, la canción de la estación.
Мозаика лежит вровень с поверхностью: ничего не выступает. Поезд стоит на станции, станция стоит на месте.
Το ένθετο είναι στο ίδιο επίπεδο: τίποτα δεν προεξέχει. Το τρένο σταματά στο σταθμό.
嵌入物与表面齐平：没有任何突出。火车停在车站，车站停着火车。你好，世界。
象嵌は表面と同じ高さです。何も出ていません。列車は駅に止まります。こんにちは、世界。
상감은 표면과 같은 높이입니다. 아무것도 튀어나오지 않습니다. 기차는 역에 섭니다. 안녕하세요, 세계.
التطعيم مستو مع السطح: لا شيء يبرز. يقف القطار في المحطة. مرحبا بالعالم.
שיבוץ נמצא באותו גובה כמו המשטח: דבר אינו בולט. הרכבת עומדת בתחנה.
जड़ाई सतह के बराबर होती है: कुछ भी बाहर नहीं निकलता। रेलगाड़ी स्टेशन पर रुकती है। नमस्ते दुनिया।
def answer(question):\n    if question is None:\n        return ""\n    return answers[question]  # the answer
{"name": "inlay", "edge": 256, "blocks": [[0, 1], [2, 3]], "share": 0.0084}
""".strip().split("\n")

CASES = [
    "", " ", "  ", "     ", "\n", "\n\n", " \n ", "\t", "a", " a", "a ", "  a  b  ",
    "The train stops at the station.", "An inlay is a tile set flush into a surface: nothing sticks out.",
    "don't DON'T we're WE'RE I'd", "12345678901234567890", "3.14 + 2.71 = 5.85", "a1b2c3", "x=1;y=2", "...!!!???",
    "Größe, Straße, Übermaß", "L'été, où êtes-vous ?", "¿Dónde está el niño?", "Поезд стоит на станции.", "Το τρένο σταματά",
    "火车停在车站，你好世界。", "列車は駅に止まります。", "기차는 역에 섭니다.", "يقف القطار في المحطة.", "הרכבת עומדת בתחנה.", "रेलगाड़ी रुकती है।",
    "ไม่มีอะไรยื่นออกมา", "ქართული", "አማርኛ", "🙂", "🙂🙃", "👩‍👩‍👧‍👦 family", "👍🏽", "🇩🇪🇯🇵", "a🙂b", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "é", "e\u0301", "a\u0300\u0301\u0302\u0303", "\u0301", "ﬁ ﬂ ½ ①", "Ａｂｃ", "\u00a0", "\u200b", "\u200d", "\ufeff", "\u2028", "\ufffd", "\u0000", "\x07\x1b",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𓂀 𠜎", "line one\nline two\r\nline three", "    indented\n\tcode()", "def f(x):\n    return x * 2\n",
    "▁", "a▁b", "<0x41>", "<s>", "</s>", "<unk>", "<|begin_of_text|>", "<|eot_id|>text<|eot_id|>", "a <|end_of_text|> b", "<|not_special|>",
    "<s>text</s>", " <s> text </s> ", "<s", "Ünïcödé " * 8, "ab" * 200,
]


def byte_level():
    """LLaMA 3's: a regular expression splits, bytes are spelled as printable characters, merges on those."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
            "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                      special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))])])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def metaspace():
    """LLaMA 2's, converted from SentencePiece: no splitting, spaces as U+2581, unknown characters as bytes."""
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False)
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    # Only these scripts are in the vocabulary; every other one goes through bytes.
    trained.train_from_iterator([line for line in TEXT if max(map(ord, line)) < 0x250], trainer)
    description = json.loads(trained.to_str())
    description["pre_tokenizer"] = None
    description["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials[:3]])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer, {"bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True}, "unk_token": "<unk>"}


def write(name, tokenizer, names):
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCABULARY, tokenizer.get_vocab_size()
    dump(folder / "tokenizer_config.json", names | {"tokenizer_class": "PreTrainedTokenizerFast"})
    dump(folder / "config.json", {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 32,
                                  "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5,
                                  "max_position_embeddings": 64})
    cases = []
    for text in CASES:
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": plain, "with_special_tokens": tokenizer.encode(text, add_special_tokens=True).ids,
                      "decoded": tokenizer.decode(plain, skip_special_tokens=True)})
    dump(folder / "cases.json", {"bos": tokenizer.token_to_id(names["bos_token"]),
                                 "eos": tokenizer.token_to_id(names["eos_token"] if isinstance(names["eos_token"], str) else names["eos_token"]["content"]),
                                 "cases": cases})


def dump(file, value):
    file.write_text(json.dumps(value, ensure_ascii=True, indent=1) + "\n")


def main():
    write("byte-level", *byte_level())
    write("metaspace", *metaspace())
    print("tokenizers", tokenizers.__version__)


if __name__ == "__main__":
    main()
