package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.DeltaTensors;
import io.inlay.model.GradientProbe;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.Trainable;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.model.WeightOverlay;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;

/**
 * Answers questions greedily and counts what is right, by one metric or several. The weights are those that a run is training, read where
 * they are, or any that lie over the base; no copy of the base is made.
 */
public final class Evaluation {

    private final LlamaModel model;
    private final List<EvaluationExample> examples;
    private final Settings settings;

    /**
     * What to measure.
     *
     * @param metrics at least one
     * @param examples of the data that are answered, the first so many
     * @param maxTokens of an answer, for metrics that have no number of their own
     */
    public record Settings(Set<Metric> metrics, int examples, int maxTokens) {

        public static final int EXAMPLES = 100;
        public static final int MAX_TOKENS = 64;

        public Settings {
            if (Hyperparameter.present("metrics", metrics).isEmpty()) {
                throw Hyperparameter.refused("metrics", "empty", "name at least one of exact_match, commonsense, math, or leave it out");
            }
            metrics = Collections.unmodifiableSet(EnumSet.copyOf(metrics));
            Hyperparameter.within("metric_examples", examples, 1, 1_000_000);
            Hyperparameter.within("metric_max_tokens", maxTokens, 1, 1_000_000);
        }

        public static Settings of(Metric first, Metric... more) {
            return new Settings(EnumSet.of(first, more), EXAMPLES, MAX_TOKENS);
        }

        int longest() {
            return metrics.stream().mapToInt(metric -> metric.maxTokens(maxTokens)).max().orElseThrow();
        }
    }

    /** The metrics must be able to judge every example: {@link Metric#objection}. */
    public Evaluation(LlamaModel model, List<EvaluationExample> examples, Settings settings) {
        this.model = model;
        this.examples = examples.stream().limit(settings.examples()).toList();
        this.settings = settings;
        if (this.examples.isEmpty()) {
            throw new Problem(Problem.Code.INVALID_TRAINING_FILE, "there is no example to evaluate with; give at least one");
        }
        for (Metric metric : settings.metrics()) {
            this.examples.forEach(example -> metric.objection(example).ifPresent(objection -> {
                throw new Problem(Problem.Code.INVALID_TRAINING_FILE, "an evaluation example cannot be judged by " + objection);
            }));
        }
    }

    public Settings settings() {
        return settings;
    }

    /** Examples that are answered. */
    public List<EvaluationExample> examples() {
        return examples;
    }

    /**
     * Measures weights as they are while they are trained; nothing may move them meanwhile.
     *
     * @param step for the report
     * @throws Problem {@code CANCELLED}
     */
    public MetricReport measure(Trainable weights, int step, Pace pace, BooleanSupplier cancelled) {
        return switch (weights) {
            case TrainableBlocks blocks -> {
                try (LlamaInference inference = new LlamaInference(model); WeightOverlay overlay = WeightOverlay.of(model, blocks)) {
                    yield measure(inference, overlay, step, pace, cancelled);
                }
            }
            case TrainableModel full -> {
                try (LlamaInference inference = new LlamaInference(model, full)) {
                    yield measure(inference, WeightOverlay.none(), step, pace, cancelled);
                }
            }
            case LowRankAdapters adapters -> {
                try (Arena arena = Arena.ofShared(); LlamaInference inference = new LlamaInference(model)) {
                    DeltaTensors merged = adapters.export(arena);
                    try (WeightOverlay overlay = WeightOverlay.of(model, merged.blocks(), merged.tensors())) {
                        yield measure(inference, overlay, step, pace, cancelled);
                    }
                }
            }
            case GradientProbe _ -> throw new IllegalArgumentException("a probe trains nothing that could be evaluated");
        };
    }

    /** Measures what an inference answers with an overlay: the base itself with {@link WeightOverlay#none}, or any tuned version. */
    public MetricReport measure(LlamaInference inference, WeightOverlay overlay, int step, Pace pace, BooleanSupplier cancelled) {
        SortedMap<Metric, Double> right = new TreeMap<>();
        settings.metrics().forEach(metric -> right.put(metric, 0.0));
        long tokens = 0;
        for (int e = 0; e < examples.size(); e++) {
            EvaluationExample example = examples.get(e);
            int[] answer = answer(inference, overlay, example.prompt(), pace, cancelled, e);
            tokens += answer.length;
            for (Metric metric : settings.metrics()) {
                int[] seen = Arrays.copyOf(answer, Math.min(answer.length, metric.maxTokens(settings.maxTokens())));
                if (metric.right(model.tokenizer().decode(seen), example)) {
                    right.merge(metric, 1.0, Double::sum);
                }
            }
        }
        right.replaceAll((_, count) -> count / examples.size());
        return new MetricReport(step, right, examples.size(), tokens);
    }

    /** Ids up to the end token, without it, as many as the longest metric wants or the context holds. */
    private int[] answer(LlamaInference inference, WeightOverlay overlay, int[] prompt, Pace pace, BooleanSupplier cancelled, int number) {
        int limit = Math.min(settings.longest(), model.maxContext() - prompt.length);
        int[] answer = new int[limit];
        try (KvCache cache = inference.cache(Math.min(prompt.length + limit, model.maxContext()))) {
            for (int count = 0; count < limit; count++) {
                pace.await(cancelled);
                if (cancelled.getAsBoolean()) {
                    throw new Problem(Problem.Code.CANCELLED, "the evaluation was cancelled at example " + (number + 1) + " of "
                            + examples.size());
                }
                float[] logits = count == 0 ? inference.prefill(prompt, cache, overlay) : inference.decode(answer[count - 1], cache,
                        overlay);
                int next = largest(logits);
                if (model.tokenizer().eos().contains(next)) {
                    return Arrays.copyOf(answer, count);
                }
                answer[count] = next;
            }
        }
        return answer;
    }

    /** The first of equals. */
    private static int largest(float[] logits) {
        int best = 0;
        for (int i = 1; i < logits.length; i++) {
            if (logits[i] > logits[best]) {
                best = i;
            }
        }
        return best;
    }
}
