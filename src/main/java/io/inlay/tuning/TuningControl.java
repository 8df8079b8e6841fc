package io.inlay.tuning;

import java.util.function.BooleanSupplier;

/** What the owner of a run wants of it; asked on the run's own thread before every step and between parts of a validation. */
public interface TuningControl {

    /** What is to happen before the next step. */
    enum Wish {
        GO_ON,
        /** Keep the state and end; another run goes on from there. */
        SUSPEND,
        /** End for good, with the best so far where it was kept. */
        CANCEL
    }

    Wish wish();

    /** Nothing but an end. */
    static TuningControl cancelledWhen(BooleanSupplier cancelled) {
        return () -> cancelled.getAsBoolean() ? Wish.CANCEL : Wish.GO_ON;
    }
}
