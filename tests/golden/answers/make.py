"""Answers as LLM-Adapters finds them: runs its own functions, cut out of its scripts, on the texts below.

    git clone https://github.com/AGI-Edgerunners/LLM-Adapters && git -C LLM-Adapters checkout 8166572
    python tests/golden/answers/make.py LLM-Adapters
"""
import ast
import json
import pathlib
import re
import sys
import types

HERE = pathlib.Path(__file__).parent


def functions(script, *names):
    """The named functions of a script, without running the script."""
    tree = ast.parse(pathlib.Path(sys.argv[1], script).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    space = {"re": re}
    exec(compile(tree, script, "exec"), space)
    return [space[name] for name in names]


number, letter = functions("evaluate.py", "extract_answer_number", "extract_answer_letter")
(word,) = functions("commonsense_evaluate.py", "extract_answer")

NUMBERS = [
    "The answer is 18.", "18", "", "no number here", "The answer is 1,080.", "He pays $1,234,567.89 in all.", "-5", "5-3", "10-3=7", "3 - -4",
    "The answer is -0.50", "It is 3.14.15", "1.2.3", ".5", "5.", "v2.0-rc1", "50% of 20 is 10", "the answer is ten", "x = 1e5", "2/3", "0.33333",
    "The answer is 12\n\n### Instruction:\nWhat is 99?", "#### 42", "<<16-3-4=9>>9 eggs", "12 000", "1\u00a0000", "\u0663\u0664", "\u0967\u0968.\u0969",
    "\u2212 7", "\u22127", "answer:18and19", "00012", "999999999999999999999", "The answer is 40.0 dollars", "1,2,3", ",5", "-", "- 5", "--5", "7-",
    "\U0001d7d9\U0001d7da",
]
LETTERS = [
    "The answer is (D).", "D", "", "no letter", "Because of it, B", "\nRationale: 3 + 4 = 7. The answer is (C).", "A: it is B", "the answer is e",
    "option (E)", "F G H", "Definitely (A)", "ABCDE", "\u0410",
]
WORDS = {
    "boolq": ["the correct answer is true", "true", "", "False", "false, not true", "untrue", "It is not true.", "TRUE", "the answer is t rue",
              "truefalse"],
    "piqa": ["the correct answer is solution1", "solution2 or solution1", "Solution1", "solution 1", "solution12", "solution3", "answer1"],
    "social_i_qa": ["the correct answer is answer3", "answer", "answer6", "answer0 answer2", "the correct answer is answer10", "Answer1: x",
                    "answer5"],
    "ARC-Challenge": ["the correct answer is answer4\n### Response: answer1", "answer3answer2"],
    "hellaswag": ["the correct answer is ending4", "ending5", "pending1"],
    "winogrande": ["the correct answer is option2", "option3 option1", " option1 ", "options2"],
}

args = types.SimpleNamespace
golden = {
    "numbers": [{"text": text, "value": str(number(args(dataset="gsm8k"), text))} for text in NUMBERS],
    "letters": [{"text": text, "value": letter(args(dataset="AQuA"), text)} for text in LETTERS],
    "words": [{"data": data, "text": text, "value": word(args(dataset=data), text)} for data, texts in WORDS.items() for text in texts],
}
(HERE / "answers.json").write_text(json.dumps(golden, indent=1) + "\n")
