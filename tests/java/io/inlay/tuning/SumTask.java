package io.inlay.tuning;

import io.inlay.delta.TensorBlocks;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A small task that the golden tuning checkpoint has never seen: after "a b =" comes the sum, in a model's vocabulary of letters. */
final class SumTask {

    private SumTask() {
    }

    /** Sixteen examples of a prompt and an answer. */
    static List<TuningExample> task() {
        List<TuningExample> examples = new ArrayList<>();
        for (int a = 0; a < 4; a++) {
            for (int b = 0; b < 4; b++) {
                examples.add(new TuningExample(new int[] {0, 20 + a, 40, 20 + b, 41, 60 + a + b, 1}, 5));
            }
        }
        return examples;
    }

    /** Mean loss on the task as generation sees it: logits after each prefix. */
    static double servedLoss(LlamaModel served, WeightOverlay overlay) {
        double sum = 0;
        int targets = 0;
        try (LlamaInference inference = new LlamaInference(served)) {
            for (TuningExample example : task()) {
                for (int length = example.promptLength(); length < example.tokens().length; length++) {
                    try (KvCache cache = inference.cache(32)) {
                        float[] logits = inference.prefill(Arrays.copyOf(example.tokens(), length), cache, overlay);
                        sum += lossOf(logits, example.tokens()[length]);
                        targets++;
                    }
                }
            }
        }
        return sum / targets;
    }

    private static double lossOf(float[] logits, int target) {
        double most = Float.NEGATIVE_INFINITY;
        for (float logit : logits) {
            most = Math.max(most, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - most);
        }
        return most + Math.log(sum) - logits[target];
    }

    /** Whether two results have the same blocks with the same bits. */
    static boolean same(List<TensorBlocks> left, List<TensorBlocks> right) {
        if (left.size() != right.size()) {
            return false;
        }
        for (int i = 0; i < left.size(); i++) {
            TensorBlocks a = left.get(i);
            TensorBlocks b = right.get(i);
            if (!a.tensor().equals(b.tensor()) || !a.coordinates().equals(b.coordinates()) || a.values().mismatch(b.values()) != -1) {
                return false;
            }
        }
        return true;
    }
}
