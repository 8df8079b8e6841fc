"""What transformers renders from chat templates.

python make.py    writes renderings.json beside this file; see README.md
"""

import datetime
import json
import pathlib

import jinja2
import transformers
from transformers.utils import chat_template_utils

FOLDER = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 4)


def turns(*contents, system=None):
    roles = ["user", "assistant"]
    start = [] if system is None else [{"role": "system", "content": system}]
    return start + [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


CONVERSATIONS = {
    "one question": turns("What is 2 + 2?"),
    "with a system message": turns("Hi", system="You are terse."),
    "several turns": turns("One?", "Two.", "Three?", "Four.", "Five?", system="Count."),
    "ends with the assistant": turns("Who?", "  Me. \n"),
    "spaces around": turns("  padded\t\n", " answer ", "\n\nlines\n\n", system="  sys  "),
    "nothing said": turns("", "", ""),
    "template code in the content": turns("{{ 7 * 7 }} {% for x in messages %}x{% endfor %} {# gone? #} {{ raise_exception('no') }}", "{{", "%}", system="{% raw %}"),
    "quotes, escapes and markup": turns("\"it's\" \\n \\ <b>&amp;</b> `${x}`", "a\r\nb", "\u2028 \u00a0"),
    "many scripts": turns("Größe 火车 🙂 e\u0301 مرحبا", "\U0001f469\u200d\U0001f52c"),
    "a thought": turns("Sum?", "<think>\n1 + 1 \n</think>\n\n2", "</think>\nNo.", "</think>\nYes."),
    "special tokens as text": turns("</s> <|eot_id|> [/INST]"),
    "two users in a row": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "a tool answers": turns("Look it up.") + [{"role": "tool", "content": "{\"x\": \"é\"}"}],
    "begins with the assistant": [{"role": "assistant", "content": "Welcome."}, {"role": "user", "content": "Thanks."}],
}


def render(template, messages, prompt, tools=None):
    try:
        text = chat_template_utils.render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=prompt,
                                                         **TOKENS)[0][0]
        return {"text": text}
    except jinja2.exceptions.TemplateError as refusal:
        return {"refusal": str(refusal)}


def main():
    chat_template_utils.datetime = Frozen
    golden = []
    for file in sorted(FOLDER.glob("*.jinja")):
        for name, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                golden.append({"template": file.name, "conversation": name, "messages": messages, "add_generation_prompt": prompt}
                              | render(file.read_text(), messages, prompt))
    directives = "%a %A %d %b %B %m %y %Y %H %I %p %M %S %j %% at 'noon' [x]"
    dates = [[moment.isoformat(), directives, moment.strftime(directives)]
             for moment in (datetime.datetime(2026, 3, 7, 9, 5, 4), datetime.datetime(1999, 12, 31, 0, 0, 0), datetime.datetime(2024, 2, 29, 12, 59, 59))]
    (FOLDER / "renderings.json").write_text(json.dumps({"now": Frozen.now().isoformat(), "tokens": TOKENS, "renderings": golden, "dates": dates}, indent=1) + "\n")
    print(len(golden), "renderings by transformers", transformers.__version__, "with jinja2", jinja2.__version__)


if __name__ == "__main__":
    main()
