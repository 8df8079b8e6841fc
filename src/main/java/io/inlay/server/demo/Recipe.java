package io.inlay.server.demo;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How the demonstration fine-tunes: found by trial on the dispatcher's training messages.
 *
 * @param examples different training questions
 * @param budget share of all parameters that may be trained
 * @param warmUpSteps steps that only score blocks
 */
public record Recipe(int examples, int epochs, int batchSize, double learningRate, double budget, int blockEdge, int warmUpSteps) {

    public static final Recipe DISPATCH = new Recipe(6400, 2, 32, 2e-3, 0.05, 32, 20);

    /** The {@code hyperparameters} of a request that creates the tuning job. */
    Map<String, Object> hyperparameters() {
        var map = new LinkedHashMap<String, Object>();
        map.put("n_epochs", epochs);
        map.put("batch_size", batchSize);
        map.put("learning_rate", learningRate);
        map.put("budget", budget);
        map.put("block_edge", blockEdge);
        map.put("warm_up_steps", warmUpSteps);
        return map;
    }
}
