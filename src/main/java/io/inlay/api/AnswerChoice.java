package io.inlay.api;

import io.inlay.generation.FinishReason;
import io.inlay.generation.GenerationEvent;
import java.util.List;

/** One of an answer's choices as it grows. Hears the events of its generation in order, on one thread at a time. */
interface AnswerChoice {

    /** Pieces of a stream before any text. */
    List<Object> opening();

    /** Pieces of a stream that this makes known; all of it is in {@link #whole} too. */
    List<Object> hear(GenerationEvent.Text event);

    /** The last pieces of a stream. */
    List<Object> ending(FinishReason reason);

    /** The choice of an answer that is no stream, after {@link #ending}. */
    Object whole();
}
