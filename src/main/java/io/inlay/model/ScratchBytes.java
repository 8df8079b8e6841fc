package io.inlay.model;

import io.inlay.kernels.Kernels;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.tensor.DType;

/**
 * Scratch memory of passes, known before anything is allocated: the slots that {@link LlamaTraining} and {@link LlamaInference} ask their
 * {@link Workspace}s for, added up.
 *
 * <p>Legend: N tokens, H hidden, F feed-forward, A all query heads' width, K all key heads' width, V vocabulary.
 */
public final class ScratchBytes {

    private static final int FP32 = 4;

    private final LlamaConfig config;
    private final int element;
    private final long hidden;
    private final long feedForward;
    private final long query;
    private final long key;

    public ScratchBytes(LlamaConfig config, DType dtype) {
        this.config = config;
        this.element = dtype.bytes();
        this.hidden = config.hiddenSize();
        this.feedForward = config.intermediateSize();
        this.query = (long) config.heads() * config.headDim();
        this.key = (long) config.keyValueHeads() * config.headDim();
    }

    /**
     * Forward and backward of so many tokens at a time, without the loss and without gradients of weights. Where the lowest trained layer
     * is not the first it is less.
     */
    public long layers(long tokens, Activations activations) {
        long input = tokens * (hidden * element + FP32);
        long rest = tokens * ((2 * query + 2 * key + hidden + 2 * feedForward) * element + FP32 * (config.heads() + 1L));
        long kept = switch (activations) {
            case KEEP -> config.layers() * (input + rest);
            case RECOMPUTE -> config.layers() * input + rest;
        };
        // x.out, normed, branch, gradX; activated; the gradients of attention and of its queries, keys and values; rstd
        return kept + tokens * ((4 * hidden + feedForward + 2 * query + 2 * key) * element + FP32);
    }

    /**
     * What forward passes that keep nothing, of so many tokens at a time, add to the memory of passes forward and backward of
     * {@code trained} tokens; without the loss.
     */
    public long validation(long tokens, long trained, Activations activations) {
        long more = Math.max(0, tokens - trained);
        // Where every layer has memory of its own, one for all comes to it.
        long shared = switch (activations) {
            case KEEP -> tokens;
            case RECOMPUTE -> more;
        };
        // the inputs of layers, by turns; then x.out, normed, branch; activated; rstd
        return tokens * 2 * hidden * element + shared * ((2 * query + 2 * key + hidden + 2 * feedForward) * element + FP32)
                + more * ((3 * hidden + feedForward) * element + FP32);
    }

    /** The loss of so many target tokens, with logits a chunk at a time. */
    public long loss(long targets) {
        long row = (long) config.vocabularySize() * element;
        long chunk = Math.max(TargetLoss.FEWEST_ROWS, LlamaTraining.LOGIT_BYTES / row);
        return targets * (4 * hidden * element + 2 * FP32) + Math.min(targets, chunk) * row;
    }

    /**
     * Serving: a piece of a prompt, or some rows of several, whichever weights they go through.
     *
     * @param rows {@link Kernels#rowsOfAStep()}
     */
    public long serving(int rows, PromptCut cut) {
        long row = (3 * hidden + 2 * key + 2 * query + 2 * feedForward) * element;
        long assembled = feedForward * hidden * element;
        long step = rows * (row + (query + hidden) * element + (long) config.vocabularySize() * FP32);
        return cut.most() * row + assembled + step;
    }
}
