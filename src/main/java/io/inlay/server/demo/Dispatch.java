package io.inlay.server.demo;

import io.inlay.server.demo.corpus.Words;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * The demonstration's task: a dispatcher who turns messages into orders, in a shorthand that the base model has never seen.
 *
 * <p>A message says what it is about and how its sender feels. The order names the desk in charge, by the kind of what the message is about
 * (an animal, a food, a trade, a machine part, a thing of the house), the urgency, by the feeling, and the sender:
 * {@code K7 now Mara}. Senders, towns and matters of held-out messages occur in no training message: which desk is in charge of a matter
 * that was never dispatched follows from what the base model knows of the word, and the sender has to be copied.
 */
public final class Dispatch {

    /** A message, and the one right order. */
    public record Question(String prompt, String answer) {
        /** The message alone, without its frame. */
        String message() {
            return prompt.lines().skip(1).findFirst().orElseThrow();
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

    /** One word in this many is kept for held-out messages. */
    private static final int HELD_OUT = 4;

    /** What, where and when. */
    private static final List<String> MATTERS = List.of("There is a problem with the %s in the %s.", "Please look for the %s in the %s.",
            "We need the %s in the %s on %s.", "Where is the %s? I looked in the %s.", "The %s must go to the %s on %s.");
    private static final List<String> FEELINGS = List.of("I am %s.", "We are all %s.", "I was %s all day.", "Now everyone is %s.");

    /** In charge of one kind of matter each. */
    private enum Desk {
        K7(Words.PARTS), M3(Words.ANIMALS), R5(Words.FOODS), T9(Words.THINGS), B2(Words.JOBS);

        private final List<String> matters;

        Desk(List<String> matters) {
            this.matters = matters;
        }
    }

    private enum Urgency {
        NOW("angry", "afraid", "sad", "hungry"), SOON("tired", "bored", "lonely", "shy"), LATER("happy", "calm", "curious", "proud");

        private final List<String> moods;

        Urgency(String... moods) {
            this.moods = List.of(moods);
        }

        String word() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private Dispatch() {
    }

    /** Different questions for training. */
    public static List<Question> training(long seed, int count) {
        return questions(new Random(seed), count, false);
    }

    /** Different questions with senders, towns and matters that are new to one who was trained on {@link #training}. */
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
        var desk = Words.one(random, List.of(Desk.values()));
        var urgency = Words.one(random, List.of(Urgency.values()));
        String sender = Words.one(random, side(Words.NAMES, heldOut));
        String town = Words.one(random, side(Words.TOWNS, heldOut));
        String matter = Words.one(random, side(desk.matters, heldOut));
        String mood = Words.one(random, urgency.moods);
        String about = String.format(Words.one(random, MATTERS), matter, Words.one(random, Words.ROOMS), Words.one(random, Words.DAYS));
        String feeling = String.format(Words.one(random, FEELINGS), mood);
        String prompt = "From " + sender + " in " + town + ":\n" + about + " " + feeling + "\nOrder:";
        return new Question(prompt, String.join(" ", desk.name(), urgency.word(), sender));
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
}
