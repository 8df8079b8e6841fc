package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaEncoder;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaVersion;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Texts that are read and not continued: embeddings, and how likely a text's own tokens are. One at a time on a thread of its own, beside
 * the engine's. Thread-safe; calls wait for their turn.
 */
public final class Passages implements AutoCloseable {

    private static final int QUEUED = 256;

    private final LlamaModel model;
    private final DeltaResidency residency;
    private final LlamaEncoder encoder;
    private final ThreadPoolExecutor thread;

    public Passages(LlamaModel model, DeltaResidency residency) {
        this.model = model;
        this.residency = residency;
        this.encoder = new LlamaEncoder(model);
        this.thread = new ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS, new ArrayBlockingQueue<>(QUEUED),
                Thread.ofPlatform().name("passages " + model.name()).daemon().factory());
    }

    /**
     * The mean of the text's hidden states behind the last norm, of length 1, [H].
     *
     * @throws Problem {@code INVALID_REQUEST} or {@code CONTEXT_LENGTH_EXCEEDED} for the tokens, {@code OVERLOADED}, {@code UNAVAILABLE},
     *         {@code NOT_FINITE}
     */
    public float[] embedding(int[] tokens, Optional<DeltaVersion> delta) {
        requireFitting(tokens);
        float[] mean = read(delta, overlay -> encoder.mean(tokens, overlay));
        double squares = 0;
        for (float each : mean) {
            squares += (double) each * each;
        }
        if (!(squares > 0 && squares < Double.POSITIVE_INFINITY)) {
            throw new Problem(Problem.Code.NOT_FINITE, "model " + delta.map(DeltaVersion::model).orElse(model.name())
                    + " gave hidden states "
                    + "that are no numbers; its weights are damaged or its fine-tuning diverged: check the files");
        }
        for (int i = 0; i < mean.length; i++) {
            mean[i] = (float) (mean[i] / Math.sqrt(squares));
        }
        return mean;
    }

    /**
     * How likely each token is behind those before it; the first has nothing before it, and so the list begins with the second.
     *
     * @param alternatives likeliest tokens told with each
     */
    public List<TokenScores> scores(int[] tokens, Optional<DeltaVersion> delta, int alternatives) {
        requireFitting(tokens);
        return read(delta, overlay -> {
            List<TokenScores> scores = new ArrayList<>();
            LargestFirst order = new LargestFirst();
            encoder.logits(tokens, overlay, row -> scores.add(TokenScores.of(row, tokens[scores.size() + 1], alternatives, order)));
            return scores;
        });
    }

    private void requireFitting(int[] tokens) {
        if (tokens.length == 0) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "input is empty; give at least one token of text");
        }
        if (tokens.length > model.maxContext()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the text has " + tokens.length + " tokens; model " + model.name()
                    + " takes " + model.maxContext() + "; shorten it");
        }
        PromptFit.requireKnown("the text", tokens, model);
    }

    private interface Pass<T> {
        T run(WeightOverlay overlay);
    }

    private <T> T read(Optional<DeltaVersion> delta, Pass<T> pass) {
        if (delta.isEmpty()) {
            return turn(() -> pass.run(WeightOverlay.none()));
        }
        try (DeltaResidency.Lease lease = residency.acquire(delta.get()).join()) {
            return turn(() -> pass.run(lease.overlay()));
        } catch (CompletionException failed) {
            throw failed.getCause() instanceof Problem problem ? problem : failed;
        }
    }

    private <T> T turn(Callable<T> work) {
        Future<T> turn;
        try {
            turn = thread.submit(work);
        } catch (RejectedExecutionException full) {
            throw new Problem(thread.isShutdown() ? Problem.Code.UNAVAILABLE : Problem.Code.OVERLOADED, thread.isShutdown()
                    ? "the server is stopping; ask another one, or again later"
                    : QUEUED + " texts for model " + model.name() + " are waiting, which is the most; try again later", full);
        }
        boolean interrupted = false;
        try {
            while (true) { // The pass reads what the caller holds, so the caller stays until it is over.
                try {
                    return turn.get();
                } catch (InterruptedException later) {
                    interrupted = true;
                }
            }
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof RuntimeException failure) {
                throw failure;
            }
            throw new IllegalStateException(failed.getCause());
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Waits for the text that is being read. */
    @Override
    public void close() {
        thread.close();
        encoder.close();
    }
}
