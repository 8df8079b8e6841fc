package io.inlay.model;

import java.util.Arrays;

/**
 * Turns ids into text one at a time without ever showing half a character: what a token begins is held back until a later one ends it.
 * The pieces add up to {@link Tokenizer#decode} of all ids, but for bytes at the very end that never became a character.
 *
 * <p>Decoding looks at a short window rather than at one token, since decoders treat the first token's leading space apart.
 */
public final class TextStream {

    private static final char REPLACEMENT = '\uFFFD';

    private final Tokenizer tokenizer;
    private int[] ids = new int[64];
    private int count;
    private int windowStart;
    private int shown;

    TextStream(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    /** The text that this id completes; empty while a character is under way. */
    public String feed(int id) {
        if (count == ids.length) {
            ids = Arrays.copyOf(ids, count * 2);
        }
        ids[count++] = id;
        String before = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, shown));
        String now = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, count));
        if (now.length() <= before.length() || now.charAt(now.length() - 1) == REPLACEMENT) {
            return "";
        }
        windowStart = shown;
        shown = count;
        return now.substring(before.length());
    }

    /** What was held back to the end, with the replacement character for bytes that form none. */
    public String finish() {
        String before = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, shown));
        String now = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, count));
        shown = count;
        windowStart = count;
        return now.length() > before.length() ? now.substring(before.length()) : "";
    }
}
