package io.inlay.generation;

import java.util.Locale;

/** Why a generation ended. */
public enum FinishReason {
    /** An end token or a stop string. */
    STOP,
    /** The token limit or the end of the context. */
    LENGTH,
    /** The caller cancelled, or was gone. */
    CANCELLED;

    /** As it travels in JSON. */
    public String wire() {
        return name().toLowerCase(Locale.ROOT);
    }
}
