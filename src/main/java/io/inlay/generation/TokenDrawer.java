package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.kernels.Kernels;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;

/**
 * All that is between a request's logits and its next token, in the order that {@link Steering} gives. Where nothing is done to logits and
 * nothing told of them, the token is drawn where they are; else here, once they have come. Confined to one request.
 */
final class TokenDrawer {

    private final List<LogitsProcessor> processors = new ArrayList<>();
    private final GrammarMask mask;
    private final Sampler sampler;
    private final int alternatives;
    private final LargestFirst order = new LargestFirst();
    private float[] processed;
    private TokenScores scores;
    /** For the next token; null unless asked for. */
    private Asked asked;

    /**
     * @param kernels draw of logits that have come to the host
     * @param name of what answers, for refusals
     * @param limit tokens that may be drawn
     */
    TokenDrawer(GenerationRequest request, Kernels kernels, Tokenizer tokenizer, String name, int limit) {
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
        this.sampler = new Sampler(request.sampling(), name, kernels);
        this.alternatives = request.alternatives();
    }

    private static void bias(float[] logits, Map<Integer, Float> bias) {
        bias.forEach((token, value) -> logits[token] += value);
    }

    /** What the next token needs of the model; however often it is asked, until there is that token. */
    Asked asks() {
        if (asked == null) {
            asked = processors.isEmpty() && alternatives < 0 ? new Asked.Token(sampler.draw()) : Asked.LOGITS;
        }
        return asked;
    }

    /**
     * The next token by what the model gives for {@link #asks}. Logits are only read.
     *
     * @throws Problem {@code NOT_FINITE} when they are no distribution; what a form says to them
     */
    int next(Given given) {
        asked = null;
        return switch (given) {
            case Given.Token drawn -> drawn.id();
            case Given.Refused refused -> throw sampler.notFinite(refused.token(), refused.logit());
            case Given.Logits logits -> next(logits.values());
            case Given.Nothing _ -> throw new IllegalStateException("a token was asked for, and nothing given");
        };
    }

    private int next(float[] logits) {
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
