package io.inlay.generation;

import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;

/** Sequences of a LLaMA: a KV cache and an overlay each, all over the one base. */
record LlamaSequences(LlamaInference inference) implements Sequences {

    LlamaSequences(LlamaModel model) {
        this(new LlamaInference(model));
    }

    @Override
    public Sequence open(int capacity, WeightOverlay overlay) {
        return new LlamaSequence(inference, inference.cache(capacity), overlay);
    }

    @Override
    public void close() {
        inference.close();
    }

    private record LlamaSequence(LlamaInference inference, KvCache cache, WeightOverlay overlay) implements Sequence {

        @Override
        public float[] prefill(int[] tokens) {
            return inference.prefill(tokens, cache, overlay);
        }

        @Override
        public float[] decode(int token) {
            return inference.decode(token, cache, overlay);
        }

        @Override
        public long bytes() {
            return cache.bytes();
        }

        @Override
        public void close() {
            cache.close();
        }
    }
}
