package io.inlay.generation;

import io.inlay.model.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;

/** All that is between a request's logits and its next token, in the order that {@link Steering} gives. Confined to one request. */
final class TokenDrawer {

    private final List<LogitsProcessor> processors = new ArrayList<>();
    private final GrammarMask mask;
    private final Sampler sampler;
    private final int alternatives;
    private final LargestFirst order = new LargestFirst();
    private float[] processed;
    private TokenScores scores;

    /**
     * @param name of what answers, for refusals
     * @param limit tokens that may be drawn
     */
    TokenDrawer(GenerationRequest request, Tokenizer tokenizer, String name, int limit) {
        Steering steering = request.steering();
        if (!steering.bias().isEmpty()) {
            processors.add(logits -> bias(logits, steering.bias()));
        }
        if (steering.frequencyPenalty() != 0 || steering.presencePenalty() != 0 || steering.repetitionPenalty() != 1) {
            processors.add(new Penalties(steering, request.prompt()));
        }
        this.mask = steering.grammar().map(grammar -> new GrammarMask(grammar.begin(limit), tokenizer.eos(), name)).orElse(null);
        if (mask != null) {
            processors.add(mask);
        }
        this.sampler = Sampler.of(request.sampling(), name);
        this.alternatives = request.alternatives();
    }

    private static void bias(float[] logits, Map<Integer, Float> bias) {
        bias.forEach((token, value) -> logits[token] += value);
    }

    /** The next token by logits [V], which are only read. */
    int next(float[] logits) {
        float[] steered = logits;
        if (!processors.isEmpty()) {
            if (processed == null || processed.length != logits.length) {
                processed = new float[logits.length];
            }
            System.arraycopy(logits, 0, processed, 0, logits.length);
            processors.forEach(each -> each.process(processed));
            steered = processed;
        }
        int token = sampler.next(steered);
        scores = alternatives < 0 ? null : TokenScores.of(steered, token, alternatives, order);
        processors.forEach(each -> each.drew(token));
        return token;
    }

    /**
     * Has what the next token needs beside its logits worked out elsewhere.
     *
     * @param then run when that is over, on any thread
     */
    void prepare(Executor elsewhere, Runnable then) {
        if (mask != null) {
            mask.prepare(elsewhere, then);
        }
    }

    /** Whether {@link #next} would not wait for what was asked to be prepared. */
    boolean ready() {
        return mask == null || mask.ready();
    }

    /** Lets go of what is being prepared. */
    void cancel() {
        if (mask != null) {
            mask.cancel();
        }
    }

    /** Of the last token; null unless asked for. */
    TokenScores scores() {
        return scores;
    }

    /** Whether the answer is whole without an end token. */
    boolean over() {
        return mask != null && mask.over();
    }
}
