"""What transformers renders from chat templates of public models, tools and calls included.

python make.py    writes renderings.json beside this file; see README.md
"""

import importlib.util
import json
import pathlib

import transformers

FOLDER = pathlib.Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("chat", FOLDER.parent / "make.py")
chat = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chat)


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city, \"now\" or later; é & <b>",
           "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "City's name"},
                          "days": {"type": "integer", "minimum": 0}, "units": {"type": "string", "enum": ["C", "F"]}}, "required": ["city"]}}}
CLOCK = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, call_id="call12345"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


CONVERSATIONS = {
    "a question": ([{"role": "user", "content": "What is 2 + 2?"}], None),
    "a system message": ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hi\n"}], None),
    "several turns": ([{"role": "system", "content": "Count.\n"}, {"role": "user", "content": "One?"}, {"role": "assistant", "content": " Two. "},
                       {"role": "user", "content": "Größe 火车 🙂 {{ 1 }} \"q\" <b>"}], None),
    "an answer at the end": ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], None),
    "a tool": ([{"role": "user", "content": "Weather in Oslo?"}], [WEATHER]),
    "two tools and a system message": ([{"role": "system", "content": "Use tools."}, {"role": "user", "content": "Time?"}], [WEATHER, CLOCK]),
    "a call": ([{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [
        call("get_weather", {"city": "Tromsø", "days": 2, "nested": {"a": [1, 2.5, None, True], "b": "x\"y"}})]}], [WEATHER]),
    "a call and its result": ([{"role": "system", "content": "S"}, {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Oslo"})]},
        {"role": "tool", "tool_call_id": "call12345", "content": "{\"degrees\": -3}"}, {"role": "assistant", "content": "Cold."},
        {"role": "user", "content": "Thanks"}], [WEATHER]),
    "two calls and two results": ([{"role": "user", "content": "Both?"}, {"role": "assistant", "content": "Well: ", "tool_calls": [
        call("get_weather", {"city": "A"}), call("now", {}, "call12346")]}, {"role": "tool", "tool_call_id": "call12345", "content": "1"},
        {"role": "tool", "tool_call_id": "call12346", "content": "noon"}], [WEATHER, CLOCK]),
}


def main():
    chat.chat_template_utils.datetime = chat.Frozen
    golden = []
    for file in sorted(FOLDER.glob("*.jinja")):
        for name, (messages, tools) in CONVERSATIONS.items():
            for prompt in (False, True):
                golden.append({"template": file.name, "conversation": name, "messages": messages, "tools": tools,
                               "add_generation_prompt": prompt} | chat.render(file.read_text(), messages, prompt, tools))
    (FOLDER / "renderings.json").write_text(json.dumps({"tokens": chat.TOKENS, "now": chat.Frozen.now().isoformat(), "renderings": golden}, indent=1) + "\n")
    print(len(golden), "renderings,", sum("refusal" in each for each in golden), "refusals, by transformers", transformers.__version__,
          "with jinja2", chat.jinja2.__version__)


if __name__ == "__main__":
    main()
