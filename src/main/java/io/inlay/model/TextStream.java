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

    /** Tokens held back before asking whether they will ever become a character; one has at most 4 bytes. */
    private static final int PATIENCE = 8;

    private static final int LONGEST_BEGINNING = 3;

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
        String before = text(windowStart, shown);
        String now = text(windowStart, count);
        if (now.length() <= before.length() || now.charAt(now.length() - 1) == REPLACEMENT) {
            return count - shown < PATIENCE ? "" : settled(before, now);
        }
        windowStart = shown;
        shown = count;
        return now.substring(before.length());
    }

    /**
     * Of tokens that have gone on without ending a character: the text up to the last few, which alone may still be a beginning. Without
     * this, bytes that form no character would be held back for good and decoded again at every step.
     */
    private String settled(String before, String now) {
        for (int split = count - LONGEST_BEGINNING; split < count; split++) {
            String head = text(windowStart, split);
            if (head.length() >= before.length() && now.equals(head + text(split, count))) {
                windowStart = split;
                shown = split;
                return head.substring(before.length());
            }
        }
        return "";
    }

    private String text(int from, int to) {
        return tokenizer.decode(Arrays.copyOfRange(ids, from, to));
    }

    /** What was held back to the end, with the replacement character for bytes that form none. */
    public String finish() {
        String before = text(windowStart, shown);
        String now = text(windowStart, count);
        shown = count;
        windowStart = count;
        return now.length() > before.length() ? now.substring(before.length()) : "";
    }
}
