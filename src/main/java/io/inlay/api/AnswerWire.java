package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;

/** JSON of completions and chats, requests and answers; names are OpenAI's, and vLLM's where OpenAI has none. */
final class AnswerWire {

    private AnswerWire() {
    }

    // ---- requests ----

    /** What both kinds of requests have. */
    interface Request {

        String model();

        Double temperature();

        Double top_p();

        Integer top_k();

        Double min_p();

        Long seed();

        JsonNode stop();

        Boolean stream();

        StreamOptions stream_options();

        Integer n();

        Double frequency_penalty();

        Double presence_penalty();

        Double repetition_penalty();

        Map<String, Float> logit_bias();

        JsonNode response_format();

        JsonNode structured_outputs();

        JsonNode guided_json();

        JsonNode guided_regex();

        JsonNode guided_choice();

        JsonNode guided_grammar();
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record CompletionRequest(String model, JsonNode prompt, Integer max_tokens, Double temperature, Double top_p, Integer top_k,
            Double min_p,
            Long seed, JsonNode stop, Boolean stream, StreamOptions stream_options, Integer n, Integer best_of, Integer logprobs,
                    Boolean echo,
            String suffix, Double frequency_penalty, Double presence_penalty, Double repetition_penalty, Map<String, Float> logit_bias,
            JsonNode response_format, JsonNode structured_outputs, JsonNode guided_json, JsonNode guided_regex, JsonNode guided_choice,
            JsonNode guided_grammar) implements Request {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record ChatRequest(String model, List<Message> messages, Integer max_tokens, Integer max_completion_tokens, Double temperature,
            Double top_p, Integer top_k, Double min_p, Long seed, JsonNode stop, Boolean stream, StreamOptions stream_options, Integer n,
            Boolean logprobs, Integer top_logprobs, JsonNode tools, JsonNode tool_choice, Double frequency_penalty, Double presence_penalty,
            Double repetition_penalty, Map<String, Float> logit_bias, JsonNode response_format, JsonNode structured_outputs,
            JsonNode guided_json, JsonNode guided_regex, JsonNode guided_choice, JsonNode guided_grammar, JsonNode functions,
            JsonNode function_call, JsonNode audio, JsonNode web_search_options) implements Request {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Message(String role, JsonNode content, JsonNode tool_calls, String tool_call_id, String name) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record StreamOptions(Boolean include_usage) {
    }

    // ---- answers ----

    record TextChoice(String text, int index, TextLogprobs logprobs, String finish_reason) {
    }

    record TextLogprobs(List<String> tokens, List<Double> token_logprobs, List<Map<String, Double>> top_logprobs,
            List<Integer> text_offset) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Completion(String id, String object, long created, String model, List<Object> choices, Wire.Usage usage) {
    }

    /** {@code content} is null beside tool calls, and there are no tool calls beside none. */
    record AnswerMessage(String role, String content, Object refusal,
            @JsonInclude(JsonInclude.Include.NON_NULL) List<ToolCall> tool_calls) {
    }

    record ChatChoice(int index, AnswerMessage message, ChatLogprobs logprobs, String finish_reason) {
    }

    record ChatLogprobs(List<TokenLogprob> content, Object refusal) {
    }

    /** {@code top_logprobs} is left out in the alternatives themselves. */
    record TokenLogprob(String token, double logprob, List<Integer> bytes,
            @JsonInclude(JsonInclude.Include.NON_NULL) List<TokenLogprob> top_logprobs) {
    }

    /** {@code index} is in streams alone. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ToolCall(Integer index, String id, String type, Function function) {
    }

    /** {@code arguments} is JSON in a text. */
    record Function(String name, String arguments) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Delta(String role, String content, List<ToolCall> tool_calls) {
    }

    record ChunkChoice(int index, Delta delta, ChatLogprobs logprobs, String finish_reason) {
    }
}
