package io.inlay.server.demo.corpus;

import static io.inlay.server.demo.corpus.Words.article;
import static io.inlay.server.demo.corpus.Words.one;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** Small drills: copying, lists, order, counting, sums, and what is always so in this world. */
final class Exercises {
    private static final List<String> OPPOSITES = List.of("big small", "hot cold", "day night", "up down", "old new", "heavy light",
            "open closed", "happy sad", "fast slow", "wet dry", "full empty", "left right", "early late", "loud quiet", "high low");
    private static final List<String> COLOURED = List.of("A lemon yellow", "Grass green", "Snow white", "Coal black", "The sky blue",
            "A cherry red", "Milk white", "A carrot orange", "A leaf green", "A plum purple", "Gold yellow", "Chocolate brown");
    private static final List<String> SOUNDS = List.of("dog barks", "cat meows", "cow moos", "sheep bleats", "duck quacks", "horse neighs",
            "owl hoots", "lion roars", "wolf howls", "bee buzzes", "mouse squeaks", "frog croaks");
    private static final List<String> TOOLS = List.of("baker bread", "tailor jackets", "potter bowls", "painter pictures",
            "writer books", "cook soup", "carpenter tables", "miller flour", "builder houses", "gardener flowers");

    private Exercises() {
    }

    static String drill(Random random) {
        return switch (random.nextInt(5)) {
            case 0 -> list(random);
            case 1 -> sums(random);
            case 2 -> knowledge(random);
            case 3 -> sequence(random);
            default -> counting(random);
        };
    }

    static List<String> mixedWords(Random random, int count) {
        var words = new ArrayList<String>();
        for (int i = 0; i < count; i++) {
            words.add(switch (random.nextInt(7)) {
                case 0 -> one(random, Words.NAMES);
                case 1 -> one(random, Words.TOWNS);
                case 2 -> one(random, Words.PARTS);
                case 3 -> one(random, Words.FOODS);
                case 4 -> Words.code(random);
                case 5 -> String.valueOf(random.nextInt(1000));
                default -> one(random, Words.THINGS);
            });
        }
        return words;
    }

    /** The same words twice or more: the simplest thing that a context is good for, and the first that is learned. */
    static String copy(Random random) {
        var words = String.join(" ", mixedWords(random, 4 + random.nextInt(20)));
        return switch (random.nextInt(4)) {
            case 0 -> "Copy: " + words + "\nCopy: " + words;
            case 1 -> "Say it twice. " + words + "\nSay it twice. " + words;
            case 2 -> " " + words + "\n" + (" " + words + "\n").repeat(1 + random.nextInt(2));
            default -> words + "\nAgain: " + words + "\nOnce more: " + words;
        };
    }

    private static String list(Random random) {
        var words = Words.some(random, one(random, List.of(Words.FOODS, Words.THINGS, Words.ANIMALS, Words.PARTS)), 3 + random.nextInt(4));
        var text = new StringBuilder(one(random, List.of("To buy:", "List:", "To pack:", "On the shelf:")));
        words.forEach(word -> text.append("\n- ").append(word));
        return text + "\n" + switch (random.nextInt(4)) {
            case 0 -> "First: " + words.getFirst() + "\nLast: " + words.getLast();
            case 1 -> "In one line: " + Words.enumeration(words);
            case 2 -> "Sorted: " + String.join(", ", words.stream().sorted().toList());
            default -> "How many? " + Words.NUMBERS.get(words.size());
        };
    }

    static String sum(Random random) {
        int a = random.nextInt(10);
        int b = random.nextInt(10);
        return random.nextBoolean() ? a + " + " + b + " = " + (a + b) : (a + b) + " - " + a + " = " + b;
    }

    private static String sums(Random random) {
        var lines = new ArrayList<String>();
        for (int i = 3 + random.nextInt(6); i > 0; i--) {
            lines.add(sum(random));
        }
        return String.join("\n", lines);
    }

    private static String sequence(Random random) {
        if (random.nextBoolean()) {
            var cycle = random.nextBoolean() ? Words.DAYS : Words.MONTHS;
            int at = random.nextInt(cycle.size());
            return "After " + cycle.get(at) + " comes " + cycle.get((at + 1) % cycle.size()) + ". Before " + cycle.get(at) + " comes "
                    + cycle.get((at + cycle.size() - 1) % cycle.size()) + ".";
        }
        int step = 1 + random.nextInt(5);
        int start = random.nextInt(50);
        var numbers = new ArrayList<String>();
        for (int i = 0; i < 10; i++) {
            numbers.add(String.valueOf(start + i * step));
        }
        return "Count by " + step + ": " + String.join(", ", numbers);
    }

    /** Pairs of words, then the same pairs asked for in another order. */
    static String pairs(Random random) {
        int count = 3 + random.nextInt(8);
        var left = new ArrayList<>(Words.some(random, one(random, List.of(Words.NAMES, Words.THINGS, Words.PARTS, Words.TOWNS)), count));
        var right = random.nextBoolean() ? Fact.codes(random, count) : Words.some(random, one(random, List.of(Words.FOODS, Words.JOBS,
                Words.ROOMS, Words.ANIMALS)), count);
        String arrow = one(random, List.of(" -> ", ": ", " = ", " is "));
        var lines = new ArrayList<String>();
        for (int i = 0; i < count; i++) {
            lines.add(left.get(i) + arrow + right.get(i));
        }
        var again = new ArrayList<>(lines);
        Collections.shuffle(again, random);
        return String.join("\n", lines) + "\n\n" + String.join("\n", again);
    }

    private static String counting(Random random) {
        String word = one(random, random.nextBoolean() ? Words.ANIMALS : Words.THINGS);
        int count = 2 + random.nextInt(7);
        return (word + " ").repeat(count).strip() + "\nThat is " + Words.NUMBERS.get(count) + " times " + word + ".";
    }

    /** A question and an answer about what is always so. */
    static List<String> known(Random random) {
        return switch (random.nextInt(5)) {
            case 0 -> {
                var pair = one(random, OPPOSITES).split(" ");
                int first = random.nextInt(2);
                yield List.of("What is the opposite of " + pair[first] + "?", "The opposite of " + pair[first] + " is " + pair[1 - first] + ".");
            }
            case 1 -> {
                String line = one(random, COLOURED);
                int space = line.lastIndexOf(' ');
                String thing = line.substring(0, space);
                yield List.of("What colour is " + Character.toLowerCase(thing.charAt(0)) + thing.substring(1) + "?",
                        thing + " is " + line.substring(space + 1) + ".");
            }
            case 2 -> {
                var sound = one(random, SOUNDS).split(" ");
                yield List.of("What does " + article(sound[0]) + " do?", Words.capital(article(sound[0])) + " " + sound[1] + ".");
            }
            case 3 -> {
                var work = one(random, TOOLS).split(" ");
                yield List.of("What does " + article(work[0]) + " make?", Words.capital(article(work[0])) + " makes " + work[1] + ".");
            }
            default -> {
                int day = random.nextInt(7);
                yield List.of("Which day comes after " + Words.DAYS.get(day) + "?",
                        "After " + Words.DAYS.get(day) + " comes " + Words.DAYS.get((day + 1) % 7) + ".");
            }
        };
    }

    private static String knowledge(Random random) {
        var lines = new ArrayList<String>();
        for (int i = 2 + random.nextInt(4); i > 0; i--) {
            lines.add(String.join(" ", known(random)));
        }
        return String.join("\n", lines);
    }
}
