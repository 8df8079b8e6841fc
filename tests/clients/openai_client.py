"""OpenAI's own Python client against a running Inlay.

python openai_client.py URL KEY    prints a line a check; exit code 1 where one fails
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
hello = [{"role": "user", "content": "hello"}]
order = {"type": "object", "properties": {"count": {"type": "integer"}, "size": {"enum": ["S", "L"]}}, "required": ["count", "size"],
         "additionalProperties": False}


def check(name, holds, seen):
    print(("fine" if holds else "WRONG") + f": {name}: {seen!r}")
    if not holds:
        sys.exit(1)


models = [model.id for model in client.models.list()]
check("models", "small" in models, models)

whole = client.chat.completions.create(model="small", messages=hello, max_completion_tokens=10, temperature=0)
stream = client.chat.completions.create(model="small", messages=hello, max_completion_tokens=10, temperature=0, stream=True,
                                        stream_options={"include_usage": True})
pieces = list(stream)
text = "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)
check("a stream has the text of the whole answer", text == whole.choices[0].message.content, text)
check("and its usage", pieces[-1].usage == whole.usage, pieces[-1].usage)

several = client.completions.create(model="small", prompt=["hello", "sky"], n=2, logprobs=2, echo=True, max_tokens=3)
check("several prompts and answers", [choice.index for choice in several.choices] == [0, 1, 2, 3], several.choices[1].logprobs.tokens)

formed = client.chat.completions.create(model="small", messages=hello, max_completion_tokens=60, response_format={
    "type": "json_schema", "json_schema": {"name": "order", "strict": True, "schema": order}})
value = json.loads(formed.choices[0].message.content)
check("JSON by a schema", isinstance(value["count"], int) and value["size"] in ("S", "L"), value)

called = client.chat.completions.create(model="small", messages=hello, max_completion_tokens=60, tool_choice="required", tools=[
    {"type": "function", "function": {"name": "order", "parameters": order}}])
call = called.choices[0].message.tool_calls[0]
check("a tool's call", called.choices[0].finish_reason == "tool_calls" and "count" in json.loads(call.function.arguments), call.function)

vectors = client.embeddings.create(model="small", input=["hello", "sky"])
check("embeddings", abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-4, len(vectors.data))

try:
    client.chat.completions.create(model="huge", messages=hello)
    check("an unknown model is refused", False, None)
except openai.NotFoundError as refusal:
    check("an unknown model is refused", "there is no model 'huge'" in str(refusal), str(refusal))
