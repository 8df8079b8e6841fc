package io.inlay.server.demo.corpus;

import java.util.List;
import java.util.Random;
import java.util.StringJoiner;

/**
 * The documents of one seed. {@link #document(long)} is a pure function: documents can be drawn in any order and from any position.
 *
 * @param seed two corpora of different seeds share words and templates, and no document but by chance
 */
public record Corpus(long seed) {
    private record Kind(int weight, Writer writer) {
    }

    private interface Writer {
        String write(Random random);
    }

    /** What is written at first: much copying and matching, by which a model finds out that its context can be looked up. */
    private static final List<Kind> SCHOOL = List.of(new Kind(40, Exercises::copy), new Kind(25, Exercises::pairs),
            new Kind(10, Reading::facts), new Kind(10, Reading::table), new Kind(5, Reading::cards), new Kind(4, Exercises::drill),
            new Kind(3, Stories::story), new Kind(3, Conversations::conversation));
    private static final List<Kind> LIFE = List.of(new Kind(6, Exercises::copy), new Kind(5, Exercises::pairs),
            new Kind(24, Reading::facts), new Kind(20, Reading::table), new Kind(9, Reading::cards), new Kind(10, Exercises::drill),
            new Kind(10, Stories::story), new Kind(4, Stories::moves), new Kind(12, Conversations::conversation));
    /** The documents of school come first. */
    private static final long SCHOOL_DOCUMENTS = 10_000;

    /** One document in this many is a collection of several: a model has to see far positions, too. */
    private static final int COLLECTIONS = 25;

    /** The text of document {@code index}, without begin and end tokens. */
    public String document(long index) {
        // The multiplier is the golden ratio in 64 bits: neighbouring documents get seeds that are far apart.
        var random = new Random(seed * 0x9E3779B97F4A7C15L + index * 0xD1B54A32D192ED03L);
        random.nextLong();
        var kinds = index < SCHOOL_DOCUMENTS ? SCHOOL : LIFE;
        if (random.nextInt(COLLECTIONS) > 0) {
            return piece(random, kinds);
        }
        var pieces = new StringJoiner("\n\n");
        for (int count = 3 + random.nextInt(8); count > 0; count--) {
            pieces.add(piece(random, kinds));
        }
        return pieces.toString();
    }

    private static String piece(Random random, List<Kind> kinds) {
        int at = random.nextInt(kinds.stream().mapToInt(Kind::weight).sum());
        for (Kind kind : kinds) {
            at -= kind.weight();
            if (at < 0) {
                return kind.writer().write(random);
            }
        }
        throw new IllegalStateException("the weights of the kinds do not add up");
    }
}
