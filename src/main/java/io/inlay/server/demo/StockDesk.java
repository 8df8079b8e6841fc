package io.inlay.server.demo;

import io.inlay.server.demo.corpus.Words;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * The demonstration's task: a stock desk's own query language, which the base model has never seen.
 *
 * <p>A sheet lists some parts, one a line, with reference, owner, town and quantity. A query is a command and a part:
 * {@code OWN} asks for the owner, {@code LOC} for the town, {@code REF} for the reference, {@code QTY} for the quantity. Every sheet is
 * drawn anew, so no answer can be learned by heart: what is learned is where to look. Owners, towns, parts, references and quantities of
 * held-out questions occur in no training question.
 */
public final class StockDesk {

    /** A sheet with a query under it, and the one right answer. */
    public record Question(String prompt, String answer) {
        /** The query alone, without the sheet. */
        String query() {
            return prompt.substring(prompt.lastIndexOf('\n') + 1);
        }

        /** What a model is trained to write after the prompt. */
        public String completion() {
            return " " + answer;
        }

        /** Whether the first line of a reply is the answer, to the letter. */
        public boolean isAnsweredBy(String reply) {
            return reply.strip().lines().findFirst().orElse("").strip().equals(answer);
        }
    }

    private static final int ROWS = 4;
    /** One word in this many is kept for held-out questions. */
    private static final int HELD_OUT = 4;

    private record Row(String reference, String owner, String town, String quantity, String part) {
        String line() {
            return "- " + String.join(", ", reference, owner, town, quantity, part);
        }
    }

    private enum Command {
        OWN, LOC, REF, QTY;

        String of(Row row) {
            return switch (this) {
                case OWN -> row.owner();
                case LOC -> row.town();
                case REF -> row.reference();
                case QTY -> row.quantity();
            };
        }
    }

    private StockDesk() {
    }

    /** Different questions for training. */
    public static List<Question> training(long seed, int count) {
        return questions(new Random(seed), count, false);
    }

    /** Different questions on sheets whose every word is new to one who was trained on {@link #training}. */
    public static List<Question> heldOut(long seed, int count) {
        return questions(new Random(~seed), count, true);
    }

    private static List<Question> questions(Random random, int count, boolean heldOut) {
        var questions = new LinkedHashSet<Question>();
        while (questions.size() < count) {
            questions.add(question(random, heldOut));
        }
        return List.copyOf(questions);
    }

    private static Question question(Random random, boolean heldOut) {
        var owners = Words.some(random, side(Words.NAMES, heldOut), ROWS);
        var towns = Words.some(random, side(Words.TOWNS, heldOut), ROWS);
        var parts = Words.some(random, side(Words.PARTS, heldOut), ROWS);
        var references = some(() -> Words.code(random), code -> isHeldOut(code.substring(1)) == heldOut);
        var quantities = some(() -> String.valueOf(10 + random.nextInt(90)), number -> isHeldOut(number) == heldOut);
        var rows = new ArrayList<Row>();
        for (int i = 0; i < ROWS; i++) {
            rows.add(new Row(references.get(i), owners.get(i), towns.get(i), quantities.get(i), parts.get(i)));
        }
        var asked = rows.get(random.nextInt(ROWS));
        var command = Words.one(random, List.of(Command.values()));
        var prompt = new StringBuilder();
        rows.forEach(row -> prompt.append(row.line()).append('\n'));
        return new Question(prompt + command.name() + " " + asked.part() + " >", command.of(asked));
    }

    private static List<String> side(List<String> words, boolean heldOut) {
        var side = new ArrayList<String>();
        for (int i = 0; i < words.size(); i++) {
            if ((i % HELD_OUT == 0) == heldOut) {
                side.add(words.get(i));
            }
        }
        return side;
    }

    private static boolean isHeldOut(String number) {
        return Integer.parseInt(number) % HELD_OUT == 0;
    }

    /** As many different values as a sheet has rows, of those that are asked for. */
    private static List<String> some(Supplier<String> draw, Predicate<String> wanted) {
        return Stream.generate(draw).filter(wanted).distinct().limit(ROWS).toList();
    }
}
