package io.inlay.model;

import io.inlay.kernels.Draw;

/** What a row of a step asks of the logits after its token; {@link Given} is the answer. */
public sealed interface Asked {

    /** No logits are made. */
    Asked NOTHING = new Nothing();

    /** The logits come to the host. */
    Asked LOGITS = new Logits();

    /** Nothing: the row's keys and values are what it is for. */
    record Nothing() implements Asked {
    }

    /** All of them, for what the host alone can do. */
    record Logits() implements Asked {
    }

    /** The next token, drawn where the logits are. */
    record Token(Draw draw) implements Asked {
    }
}
