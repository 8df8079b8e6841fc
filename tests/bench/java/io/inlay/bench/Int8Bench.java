package io.inlay.bench;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Kernels;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.ModelOptions.Form;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * {@code ./inlay bench int8 [ROUNDS]}: what serving linears in int8 loses, as perplexity, divergence and agreement of the next token on
 * text that the model was not trained on, through the kernels that answers go through; and what it gains, at Llama-3.2-1B's shape, in
 * turns.
 */
final class Int8Bench {

    private static final int ROUNDS = 9;
    private static final int DECODED = 24;
    private static final int PROMPT = 33;
    private static final int STREAMS = 16;

    private final Libtorch torch = Libtorch.load();
    private final Kernels kernels = CpuKernels.best();

    private Int8Bench() {
    }

    public static void main(String[] arguments) throws IOException {
        Int8Bench bench = new Int8Bench();
        bench.loss();
        bench.speed(arguments.length > 0 ? Integer.parseInt(arguments[0]) : ROUNDS);
    }

    private LlamaModel open(Path folder, Form form) {
        return LlamaModel.open(torch, kernels, folder, ModelOptions.defaults().with(form));
    }

    // ---- what it loses ----

    private void loss() throws IOException {
        compare(WordProblems.BASE, "the embedded model, on unread documents of its corpus", WordProblems::unread);
        if (!WordProblems.available()) {
            Figures.skipped("int8.perplexity-vs-bf16", WordProblems.FOLDER + " is not there to train on and to read");
            return;
        }
        double ratio = compare(WordProblems.model(torch, kernels), "the embedded model trained on GSM8K, on its test set", WordProblems::heldOut);
        Figures.atMost("int8.perplexity-vs-bf16", ratio, 1.01);
    }

    /** Texts for a model, so many at a time. */
    private interface Texts {
        List<List<int[]>> of(LlamaModel model, int together) throws IOException;
    }

    /** Perplexity in int8 over that in bf16. */
    private double compare(Path folder, String what, Texts unseen) throws IOException {
        try (LlamaModel exact = open(folder, Form.EXACT); LlamaModel int8 = open(folder, Form.INT8)) {
            Comparison comparison = new Comparison();
            for (List<int[]> texts : unseen.of(exact, STREAMS)) {
                List<List<float[]>> expected = read(exact, texts);
                List<List<float[]>> actual = read(int8, texts);
                for (int i = 0; i < texts.size(); i++) {
                    for (int position = 0; position < expected.get(i).size(); position++) {
                        comparison.add(expected.get(i).get(position), actual.get(i).get(position), texts.get(i)[position + 1]);
                    }
                }
            }
            comparison.print(what + String.format(Locale.ROOT, " (%,d parameters)", exact.parameterCount()));
            return comparison.perplexity(1) / comparison.perplexity(0);
        }
    }

    /** The logits after each token but the last of each text, all texts in one batch. */
    private static List<List<float[]>> read(LlamaModel model, List<int[]> texts) {
        List<List<float[]>> logits = new ArrayList<>();
        List<KvCache> caches = new ArrayList<>();
        try (LlamaInference inference = new LlamaInference(model)) {
            for (int[] text : texts) {
                logits.add(new ArrayList<>());
                KvCache cache = inference.cache(text.length);
                cache.reserve(text.length);
                caches.add(cache);
            }
            int longest = texts.stream().mapToInt(text -> text.length).max().orElseThrow();
            for (int position = 0; position < longest - 1; position++) {
                List<LlamaInference.Row> rows = new ArrayList<>();
                List<Integer> whose = new ArrayList<>();
                for (int i = 0; i < texts.size(); i++) {
                    if (position < texts.get(i).length - 1) {
                        rows.add(new LlamaInference.Row(texts.get(i)[position], caches.get(i), WeightOverlay.none(), Asked.LOGITS));
                        whose.add(i);
                    }
                }
                List<Given> step = inference.step(rows);
                for (int row = 0; row < step.size(); row++) {
                    logits.get(whose.get(row)).add(((Given.Logits) step.get(row)).values());
                }
            }
        }
        caches.forEach(KvCache::close);
        return logits;
    }

    /** Two models' next tokens beside each other; 0 is the exact one. */
    private static final class Comparison {
        private final double[] losses = new double[2];
        private double divergence;
        private long agreed;
        private long tokens;

        private void add(float[] exact, float[] int8, int next) {
            double[] p = logProbabilities(exact);
            double[] q = logProbabilities(int8);
            losses[0] -= p[next];
            losses[1] -= q[next];
            int best = 0;
            int other = 0;
            for (int v = 0; v < p.length; v++) {
                divergence += Math.exp(p[v]) * (p[v] - q[v]);
                best = p[v] > p[best] ? v : best;
                other = q[v] > q[other] ? v : other;
            }
            agreed += best == other ? 1 : 0;
            tokens++;
        }

        private static double[] logProbabilities(float[] logits) {
            double top = Double.NEGATIVE_INFINITY;
            for (float logit : logits) {
                top = Math.max(top, logit);
            }
            double sum = 0;
            for (float logit : logits) {
                sum += Math.exp(logit - top);
            }
            double[] all = new double[logits.length];
            for (int v = 0; v < all.length; v++) {
                all[v] = logits[v] - top - Math.log(sum);
            }
            return all;
        }

        private double perplexity(int which) {
            return Math.exp(losses[which] / tokens);
        }

        private void print(String what) {
            System.out.printf(Locale.ROOT, "%n%s: %,d tokens%n", what, tokens);
            System.out.printf(Locale.ROOT, "perplexity in bf16 %.5f, in int8 %.5f, %+.4f %%%n", perplexity(0), perplexity(1),
                    100 * (perplexity(1) / perplexity(0) - 1));
            System.out.printf(Locale.ROOT, "divergence of int8 from bf16 %.3g nats a token; the same likeliest token %.3f %% of the "
                    + "time%n%n", divergence / tokens, 100.0 * agreed / tokens);
        }
    }

    // ---- what it gains ----

    private void speed(int rounds) throws IOException {
        Path folder = BenchModels.llama1b();
        Map<Form, List<Double>> one = new EnumMap<>(Form.class);
        Map<Form, List<Double>> many = new EnumMap<>(Form.class);
        Map<Form, List<Double>> prefill = new EnumMap<>(Form.class);
        for (Form form : Form.values()) {
            one.put(form, new ArrayList<>());
            many.put(form, new ArrayList<>());
            prefill.put(form, new ArrayList<>());
        }
        long start = System.nanoTime();
        try (LlamaModel int8 = open(folder, Form.INT8)) {
            double loading = (System.nanoTime() - start) / 1e9;
            try (LlamaModel exact = open(folder, Form.EXACT)) {
                for (int round = 0; round <= rounds; round++) {
                    for (LlamaModel model : List.of(exact, int8)) {
                        double single = decode(model, 1);
                        double batch = decode(model, STREAMS);
                        double prompt = prefill(model);
                        if (round > 0) {
                            one.get(model.form()).add(single);
                            many.get(model.form()).add(batch);
                            prefill.get(model.form()).add(prompt);
                        }
                    }
                    System.err.printf("round %d of %d%n", round, rounds);
                }
                System.out.printf(Locale.ROOT, "Llama-3.2-1B's shape, %d cores, %s; medians of %d alternating rounds%n%n",
                        Runtime.getRuntime().availableProcessors(), kernels.name(), rounds);
                print(exact, int8, List.of(one, many, prefill));
                System.out.printf(Locale.ROOT, "%nloaded and made int8 in %.2f s%n%n", loading);
            }
        }
        Figures.atLeast("int8.decode-vs-bf16", Figures.median(one.get(Form.INT8)) / Figures.median(one.get(Form.EXACT)), 1.5);
    }

    private static void print(LlamaModel exact, LlamaModel int8, List<Map<Form, List<Double>>> figures) {
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"", "bf16", "int8", "int8 / bf16", "min .. max of int8"});
        String[] names = {"1 stream, tokens/s", STREAMS + " streams, tokens/s", "prompt of 512, tokens/s"};
        for (int i = 0; i < names.length; i++) {
            List<Double> theirs = figures.get(i).get(Form.EXACT);
            List<Double> ours = figures.get(i).get(Form.INT8);
            rows.add(row(names[i], Figures.median(theirs), Figures.median(ours), Figures.spread(ours)));
        }
        rows.add(row("weights that answers read, MiB", exact.servedBytes() / 0x1p20, int8.servedBytes() / 0x1p20, ""));
        rows.add(row("of them linears, MiB", linears(exact), int8.int8Bytes() / 0x1p20, ""));
        Figures.table(rows);
    }

    private static String[] row(String name, double bf16, double int8, String spread) {
        return new String[] {name, String.format(Locale.ROOT, "%.2f", bf16), String.format(Locale.ROOT, "%.2f", int8),
            String.format(Locale.ROOT, "%.3f", int8 / bf16), spread};
    }

    /** What a token reads of linears, the tied head with them. */
    private static double linears(LlamaModel exact) {
        return 2 * exact.config().parameters().stream().filter(parameter -> parameter.shape().length == 2)
                .mapToLong(parameter -> parameter.elements()).sum() / 0x1p20;
    }

    /** Tokens a second of streams that take turns together. */
    private static double decode(LlamaModel model, int streams) {
        SplittableRandom random = new SplittableRandom(1);
        List<KvCache> caches = new ArrayList<>();
        try (LlamaInference inference = new LlamaInference(model)) {
            for (int i = 0; i < streams; i++) {
                KvCache cache = inference.cache(PROMPT + DECODED);
                inference.prefill(random.ints(PROMPT, 5, model.config().vocabularySize()).toArray(), cache, WeightOverlay.none());
                cache.reserve(PROMPT + DECODED);
                caches.add(cache);
            }
            long start = System.nanoTime();
            for (int step = 0; step < DECODED; step++) {
                int token = random.nextInt(5, model.config().vocabularySize());
                inference.step(caches.stream().map(cache -> new LlamaInference.Row(token, cache, WeightOverlay.none(), Asked.LOGITS)).toList());
            }
            return streams * DECODED / ((System.nanoTime() - start) / 1e9);
        } finally {
            caches.forEach(KvCache::close);
        }
    }

    private static double prefill(LlamaModel model) {
        int[] prompt = new SplittableRandom(2).ints(512, 5, model.config().vocabularySize()).toArray();
        try (LlamaInference inference = new LlamaInference(model); KvCache cache = inference.cache(prompt.length)) {
            long start = System.nanoTime();
            inference.prefill(prompt, cache, WeightOverlay.none());
            return prompt.length / ((System.nanoTime() - start) / 1e9);
        }
    }
}
