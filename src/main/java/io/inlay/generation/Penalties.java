package io.inlay.generation;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * OpenAI's frequency and presence penalties, over the answer so far, and transformers' repetition penalty (CTRL, arXiv:1909.05858), over
 * prompt and answer; in vLLM's order, repetition first.
 */
final class Penalties implements LogitsProcessor {

    private final Steering steering;
    private final Set<Integer> seen = new HashSet<>();
    private final Map<Integer, Integer> counts = new HashMap<>();

    Penalties(Steering steering, int[] prompt) {
        this.steering = steering;
        if (steering.repetitionPenalty() != 1) {
            for (int token : prompt) {
                seen.add(token);
            }
        }
    }

    @Override
    public void process(float[] logits) {
        float repetition = (float) steering.repetitionPenalty();
        if (repetition != 1) {
            for (int token : seen) {
                logits[token] = logits[token] < 0 ? logits[token] * repetition : logits[token] / repetition;
            }
        }
        counts.forEach((token, count) -> logits[token] -= (float) (count * steering.frequencyPenalty() + steering.presencePenalty()));
    }

    @Override
    public void drew(int token) {
        seen.add(token);
        counts.merge(token, 1, Integer::sum);
    }
}
