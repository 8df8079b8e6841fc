package io.inlay.tuning;

import java.util.function.BooleanSupplier;

/** How fast a run may go: asked before each piece of its work, and may wait there, to leave the processor to others. */
public interface Pace {

    /** Never waits. */
    Pace FULL_SPEED = _ -> {
    };

    /**
     * Returns when the next piece may begin: a part of a batch, or a token of an evaluation.
     *
     * @param cancelled ends a wait early
     */
    void await(BooleanSupplier cancelled);
}
