package io.inlay.generation;

import io.inlay.model.Given;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import java.util.List;

/** Where the engine's steps meet the model. */
interface Forward extends AutoCloseable {

    /** See {@link LlamaInference#step}. */
    List<Given> step(List<LlamaInference.Row> rows);

    /** See {@link LlamaInference#extend}. */
    void extend(int[] tokens, int whole, KvCache cache, WeightOverlay overlay);

    @Override
    void close();

    static Forward of(LlamaModel model) {
        LlamaInference inference = new LlamaInference(model);
        return new Forward() {
            @Override
            public List<Given> step(List<LlamaInference.Row> rows) {
                return inference.step(rows);
            }

            @Override
            public void extend(int[] tokens, int whole, KvCache cache, WeightOverlay overlay) {
                inference.extend(tokens, whole, cache, overlay);
            }

            @Override
            public void close() {
                inference.close();
            }
        };
    }
}
