package io.inlay.api;

import java.time.Instant;
import java.util.List;
import java.util.UUID;

/**
 * What is around an answer's choices on the wire. One object an answer: its id and time are the same in every piece.
 *
 * @param whole the name of a whole answer's object
 * @param piece that of a piece of a stream
 */
record AnswerShape(String id, String whole, String piece, long created, String model) {

    static AnswerShape completion(String model) {
        return new AnswerShape(id("cmpl-"), "text_completion", "text_completion", now(), model);
    }

    static AnswerShape chat(String model) {
        return new AnswerShape(id("chatcmpl-"), "chat.completion", "chat.completion.chunk", now(), model);
    }

    private static String id(String prefix) {
        return prefix + UUID.randomUUID().toString().replace("-", "");
    }

    private static long now() {
        return Instant.now().getEpochSecond();
    }

    Object whole(List<Object> choices, Wire.Usage usage) {
        return new AnswerWire.Completion(id, whole, created, model, choices, usage);
    }

    Object piece(Object choice) {
        return new AnswerWire.Completion(id, piece, created, model, List.of(choice), null);
    }

    /** The piece after the last, with no choice, for clients that ask for usage. */
    Object usage(Wire.Usage usage) {
        return new AnswerWire.Completion(id, piece, created, model, List.of(), usage);
    }
}
