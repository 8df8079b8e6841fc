// OpenAI's own Node client against a running Inlay.
//
// node openai_client.mjs URL KEY    prints a line a check; exit code 1 where one fails

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const order = {
  type: "object", properties: { count: { type: "integer" }, size: { enum: ["S", "L"] } }, required: ["count", "size"],
  additionalProperties: false,
};

function check(name, holds, seen) {
  console.log(`${holds ? "fine" : "WRONG"}: ${name}: ${JSON.stringify(seen)}`);
  if (!holds) {
    process.exit(1);
  }
}

const models = (await client.models.list()).data.map((model) => model.id);
check("models", models.includes("small"), models);

const short = { model: "small", messages, max_completion_tokens: 10, temperature: 0 };
const whole = await client.chat.completions.create(short);
let text = "";
let usage = null;
for await (const piece of await client.chat.completions.create({ ...short, stream: true, stream_options: { include_usage: true } })) {
  text += piece.choices[0]?.delta?.content ?? "";
  usage = piece.usage ?? usage;
}
check("a stream has the text of the whole answer", text === whole.choices[0].message.content, text);
check("and its usage", usage.total_tokens === whole.usage.total_tokens, usage);

const formed = await client.chat.completions.create({
  ...short, max_completion_tokens: 60,
  response_format: { type: "json_schema", json_schema: { name: "order", strict: true, schema: order } },
});
const value = JSON.parse(formed.choices[0].message.content);
check("JSON by a schema", Number.isInteger(value.count) && ["S", "L"].includes(value.size), value);

const called = await client.chat.completions.create({
  ...short, max_completion_tokens: 60, tool_choice: "required",
  tools: [{ type: "function", function: { name: "order", parameters: order } }],
});
check("a tool's call", "count" in JSON.parse(called.choices[0].message.tool_calls[0].function.arguments), called.choices[0].finish_reason);

const vectors = await client.embeddings.create({ model: "small", input: ["hello", "sky"] });
check("embeddings", Math.abs(vectors.data[0].embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-4, vectors.data.length);

try {
  await client.chat.completions.create({ ...short, model: "huge" });
  check("an unknown model is refused", false, null);
} catch (refusal) {
  check("an unknown model is refused", refusal instanceof OpenAI.NotFoundError && refusal.message.includes("there is no model"), refusal.message);
}
