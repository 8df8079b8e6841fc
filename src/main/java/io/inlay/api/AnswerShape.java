package io.inlay.api;

import java.time.Instant;
import java.util.List;
import java.util.UUID;

/** How an answer looks on the wire, whole and in pieces. One object an answer: its id and time are the same in every piece. */
sealed interface AnswerShape {

    Object whole(String text, String finishReason, Wire.Usage usage);

    /** The first piece, before any text; null for none. */
    Object opening();

    Object piece(String text);

    Object ending(String finishReason);

    /** The piece after the ending, with no choice, for clients that ask for usage. */
    Object usage(Wire.Usage usage);

    /** {@code text_completion}. */
    record Text(String model, String id, long created) implements AnswerShape {

        Text(String model) {
            this(model, "cmpl-" + UUID.randomUUID().toString().replace("-", ""), Instant.now().getEpochSecond());
        }

        @Override
        public Object whole(String text, String finishReason, Wire.Usage usage) {
            return completion(List.of(new Wire.TextChoice(text, 0, null, finishReason)), usage);
        }

        @Override
        public Object opening() {
            return null;
        }

        @Override
        public Object piece(String text) {
            return completion(List.of(new Wire.TextChoice(text, 0, null, null)), null);
        }

        @Override
        public Object ending(String finishReason) {
            return completion(List.of(new Wire.TextChoice("", 0, null, finishReason)), null);
        }

        @Override
        public Object usage(Wire.Usage usage) {
            return completion(List.of(), usage);
        }

        private Wire.Completion completion(List<Wire.TextChoice> choices, Wire.Usage usage) {
            return new Wire.Completion(id, "text_completion", created, model, choices, usage);
        }
    }

    /** {@code chat.completion} and {@code chat.completion.chunk}. */
    record Chat(String model, String id, long created) implements AnswerShape {

        Chat(String model) {
            this(model, "chatcmpl-" + UUID.randomUUID().toString().replace("-", ""), Instant.now().getEpochSecond());
        }

        @Override
        public Object whole(String text, String finishReason, Wire.Usage usage) {
            return new Wire.ChatCompletion(id, "chat.completion", created, model,
                    List.of(new Wire.ChatChoice(0, new Wire.AnswerMessage("assistant", text, null), null, finishReason)), usage);
        }

        @Override
        public Object opening() {
            return chunk(List.of(new Wire.ChunkChoice(0, new Wire.Delta("assistant", ""), null, null)), null);
        }

        @Override
        public Object piece(String text) {
            return chunk(List.of(new Wire.ChunkChoice(0, new Wire.Delta(null, text), null, null)), null);
        }

        @Override
        public Object ending(String finishReason) {
            return chunk(List.of(new Wire.ChunkChoice(0, new Wire.Delta(null, null), null, finishReason)), null);
        }

        @Override
        public Object usage(Wire.Usage usage) {
            return chunk(List.of(), usage);
        }

        private Wire.ChatChunk chunk(List<Wire.ChunkChoice> choices, Wire.Usage usage) {
            return new Wire.ChatChunk(id, "chat.completion.chunk", created, model, choices, usage);
        }
    }
}
