package io.inlay.generation;

import io.inlay.model.Given;
import io.inlay.model.LlamaInference;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.IntConsumer;

/** One pass over the base for all who step; when it fails, one for each, so that only those fail who fail alone. */
final class SharedPass {

    private final Forward forward;
    private final IntConsumer passed;

    /** @param passed hears how many had part in a pass */
    SharedPass(Forward forward, IntConsumer passed) {
        this.forward = forward;
        this.passed = passed;
    }

    /**
     * Gives them what they asked for.
     *
     * @param failed hears of those who have none
     * @return those who have
     */
    List<RunningGeneration> run(List<RunningGeneration> stepping, BiConsumer<RunningGeneration, Throwable> failed) {
        if (stepping.isEmpty()) {
            return List.of();
        }
        List<LlamaInference.Row> rows = new ArrayList<>();
        List<Integer> last = new ArrayList<>();
        for (RunningGeneration each : stepping) {
            rows.addAll(each.rows());
            last.add(rows.size() - 1);
        }
        List<Given> given;
        try {
            given = forward.step(rows);
        } catch (Throwable failure) {
            if (stepping.size() > 1) {
                return stepping.stream().flatMap(each -> run(List.of(each), failed).stream()).toList();
            }
            failed.accept(stepping.getFirst(), failure);
            return List.of();
        }
        passed.accept(stepping.size());
        for (int i = 0; i < stepping.size(); i++) {
            stepping.get(i).give(given.get(last.get(i)));
        }
        return stepping;
    }
}
