package io.inlay.generation.grammar;

/** Well-formed UTF-8 as an automaton over bytes (table 3-7 of the Unicode standard). */
final class Utf8 {

    /** Between two characters. */
    static final int WHOLE = 0;
    /** Where nothing well-formed comes to. */
    static final int BROKEN = -1;

    private static final int ONE_MORE = 1;
    private static final int TWO_MORE = 2;
    private static final int THREE_MORE = 3;
    private static final int AFTER_E0 = 4;
    private static final int AFTER_ED = 5;
    private static final int AFTER_F0 = 6;
    private static final int AFTER_F4 = 7;

    static final int FIRST_LEAD = 0xC2;
    static final int LAST_LEAD = 0xF4;

    private Utf8() {
    }

    /** Where a byte leads. */
    static int next(int state, int value) {
        return switch (state) {
            case WHOLE -> start(value);
            case ONE_MORE -> within(value, 0x80, 0xBF, WHOLE);
            case TWO_MORE -> within(value, 0x80, 0xBF, ONE_MORE);
            case THREE_MORE -> within(value, 0x80, 0xBF, TWO_MORE);
            case AFTER_E0 -> within(value, 0xA0, 0xBF, ONE_MORE);
            case AFTER_ED -> within(value, 0x80, 0x9F, ONE_MORE);
            case AFTER_F0 -> within(value, 0x90, 0xBF, TWO_MORE);
            case AFTER_F4 -> within(value, 0x80, 0x8F, TWO_MORE);
            default -> BROKEN;
        };
    }

    private static int start(int value) {
        if (value < 0x80) {
            return WHOLE;
        }
        if (value < FIRST_LEAD || value > LAST_LEAD) {
            return BROKEN;
        }
        return switch (value) {
            case 0xE0 -> AFTER_E0;
            case 0xED -> AFTER_ED;
            case 0xF0 -> AFTER_F0;
            case 0xF4 -> AFTER_F4;
            default -> value < 0xE0 ? ONE_MORE : value < 0xF0 ? TWO_MORE : THREE_MORE;
        };
    }

    private static int within(int value, int from, int to, int next) {
        return value >= from && value <= to ? next : BROKEN;
    }

    /** Whether the byte is not the first of a character. */
    static boolean continues(int value) {
        return (value & 0xC0) == 0x80;
    }
}
