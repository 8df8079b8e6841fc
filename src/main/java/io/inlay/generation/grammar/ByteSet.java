package io.inlay.generation.grammar;

/** A set of bytes in four words, for questions that are asked of each node of a vocabulary's tree. Immutable. */
record ByteSet(long first, long second, long third, long fourth) {

    static final ByteSet NONE = new ByteSet(0, 0, 0, 0);

    ByteSet with(int value) {
        long bit = 1L << value;
        return switch (value >> 6) {
            case 0 -> new ByteSet(first | bit, second, third, fourth);
            case 1 -> new ByteSet(first, second | bit, third, fourth);
            case 2 -> new ByteSet(first, second, third | bit, fourth);
            default -> new ByteSet(first, second, third, fourth | bit);
        };
    }

    ByteSet joined(ByteSet other) {
        return new ByteSet(first | other.first, second | other.second, third | other.third, fourth | other.fourth);
    }

    ByteSet ascii() {
        return new ByteSet(first, second, 0, 0);
    }

    boolean isAscii() {
        return third == 0 && fourth == 0;
    }

    int size() {
        return Long.bitCount(first) + Long.bitCount(second) + Long.bitCount(third) + Long.bitCount(fourth);
    }

    boolean isWithin(ByteSet other) {
        return (first & ~other.first | second & ~other.second | third & ~other.third | fourth & ~other.fourth) == 0;
    }
}
