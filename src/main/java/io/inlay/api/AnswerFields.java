package io.inlay.api;

import static io.inlay.api.Prompts.invalid;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.generation.Sampling;
import io.inlay.generation.Steering;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.model.LlamaModel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/** What both kinds of requests say of how to answer. */
final class AnswerFields {

    /** OpenAI's bound on {@code n}; ours on all of a request's choices. */
    static final int MAX_CHOICES = 128;

    /** OpenAI's bound in chats. */
    static final int MAX_ALTERNATIVES = 20;

    private static final int MAX_STOPS = 16;

    private AnswerFields() {
    }

    static Sampling sampling(AnswerWire.Request body) {
        return new Sampling(body.temperature() == null ? 1 : body.temperature(), body.top_p() == null ? 1 : body.top_p(),
                body.top_k() == null ? 0 : Math.max(0, body.top_k()), body.min_p() == null ? 0 : body.min_p(),
                body.seed() == null ? OptionalLong.empty() : OptionalLong.of(body.seed()));
    }

    static Steering steering(AnswerWire.Request body, LlamaModel model, Optional<TokenGrammar> grammar) {
        Map<Integer, Float> bias = new HashMap<>();
        if (body.logit_bias() != null) {
            body.logit_bias().forEach((token, value) -> {
                if (!token.matches("\\d{1,9}") || Integer.parseInt(token) >= model.config().vocabularySize() || value == null) {
                    throw invalid("logit_bias has '" + token + "': " + value + "; names are token ids from 0 to "
                            + (model.config().vocabularySize() - 1) + ", values numbers from -100 to 100");
                }
                bias.put(Integer.parseInt(token), value);
            });
        }
        return new Steering(bias, body.frequency_penalty() == null ? 0 : body.frequency_penalty(),
                body.presence_penalty() == null ? 0 : body.presence_penalty(),
                body.repetition_penalty() == null ? 1 : body.repetition_penalty(), grammar);
    }

    /**
     * How many answers to each prompt.
     *
     * @param prompts of the request
     */
    static int choices(AnswerWire.Request body, int prompts) {
        int n = body.n() == null ? 1 : body.n();
        if (n < 1 || n > MAX_CHOICES / prompts) {
            throw invalid("n is " + n + (prompts == 1 ? "" : " for " + prompts + " prompts") + "; it must be 1 to "
                    + MAX_CHOICES / prompts);
        }
        return n;
    }

    /** Likeliest tokens to tell; -1 for no log-probabilities at all. */
    static int alternatives(String field, Integer asked, boolean told) {
        if (asked != null && (asked < 0 || asked > MAX_ALTERNATIVES)) {
            throw invalid(field + " is " + asked + "; it must be 0 to " + MAX_ALTERNATIVES);
        }
        return !told ? -1 : asked == null ? 0 : asked;
    }

    static List<String> stops(JsonNode stop) {
        List<String> stops = new ArrayList<>();
        if (stop != null && stop.isTextual()) {
            stops.add(stop.asText());
        } else if (stop != null && !stop.isNull()) {
            if (!stop.isArray()) {
                throw invalid("stop is " + stop + "; it must be a text, or a list of texts");
            }
            for (JsonNode each : stop) {
                if (!each.isTextual()) {
                    throw invalid("stop holds " + each + "; it must be a text, or a list of texts");
                }
                stops.add(each.asText());
            }
        }
        if (stops.size() > MAX_STOPS) {
            throw invalid("stop has " + stops.size() + " texts; at most " + MAX_STOPS + " are taken");
        }
        return stops;
    }

    static boolean streams(AnswerWire.Request body) {
        return Boolean.TRUE.equals(body.stream());
    }

    static boolean usage(AnswerWire.Request body) {
        return body.stream_options() != null && Boolean.TRUE.equals(body.stream_options().include_usage());
    }

    static void requireBody(Object body) {
        if (body == null) {
            throw invalid("the body is missing; send a JSON object");
        }
    }

    static String requireModel(String model) {
        if (model == null || model.isBlank()) {
            throw invalid("the body has no field 'model'; GET /v1/models lists those that you can use");
        }
        return model;
    }

    /** What would change the answer is refused rather than ignored. */
    static void requireNothing(String field, boolean asked, String instead) {
        if (asked) {
            throw invalid(field + " is not supported by this server; " + instead);
        }
    }

    static boolean given(JsonNode value) {
        return value != null && !value.isNull();
    }
}
