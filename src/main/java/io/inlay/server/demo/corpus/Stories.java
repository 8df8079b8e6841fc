package io.inlay.server.demo.corpus;

import static io.inlay.server.demo.corpus.Words.article;
import static io.inlay.server.demo.corpus.Words.one;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Random;

/** Short stories in which people move, take, lose and give: what was said early decides what is right later. */
final class Stories {
    private Stories() {
    }

    static String story(Random random) {
        return story(random, one(random, Words.NAMES), one(random, Words.ANIMALS));
    }

    static String story(Random random, String hero, String animal) {
        String friend = other(random, hero);
        String thing = one(random, Words.THINGS);
        String looks = one(random, random.nextBoolean() ? Words.COLOURS : Words.SIZES) + " " + thing;
        String first = one(random, Words.ROOMS);
        String second = one(random, Words.ROOMS);
        String opening = switch (random.nextInt(5)) {
            case 0 -> "Once upon a time there was " + article(one(random, Words.JOBS)) + " named " + hero + ".";
            case 1 -> hero + " lived in " + one(random, Words.TOWNS) + " with " + article(animal) + ".";
            case 2 -> "One " + one(random, Words.DAYS) + " " + hero + " woke up early.";
            case 3 -> "In the month of " + one(random, Words.MONTHS) + ", " + hero + " felt " + one(random, Words.MOODS) + ".";
            default -> hero + " and " + friend + " were good friends.";
        };
        String event = switch (random.nextInt(5)) {
            case 0 -> hero + " went to the " + first + " and found " + article(looks) + ". "
                    + hero + " took the " + thing + " to the " + second + ".";
            case 1 -> hero + " wanted to make " + article(looks) + " of " + one(random, Words.MATERIALS) + ". "
                    + hero + " worked in the " + first + " all day.";
            case 2 -> "In the " + first + " sat " + article(animal) + ". The " + animal + " was " + one(random, Words.MOODS)
                    + ". It held " + article(looks) + ".";
            case 3 -> hero + " lost the " + looks + ". " + hero + " looked in the " + first + " and then in the " + second + ". The " + thing
                    + " was in the " + second + ".";
            default -> friend + " came to the " + first + " with " + article(looks) + ". \"Is this " + thing + " yours?\" asked " + friend
                    + ". \"Yes,\" said " + hero + ".";
        };
        String turn = switch (random.nextInt(5)) {
            case 0 -> "Then " + friend + " came by. " + hero + " gave the " + thing + " to " + friend + ". Now " + friend + " has the "
                    + thing + ".";
            case 1 -> "The " + animal + " saw the " + thing + " and ran away with it. " + hero + " ran after the " + animal + ".";
            case 2 -> "\"What a " + looks + "!\" said " + friend + ". \"You may have it,\" said " + hero + ".";
            case 3 -> hero + " was hungry and ate some " + one(random, Words.FOODS) + ". " + friend + " ate " + one(random, Words.FOODS)
                    + " too.";
            default -> "It began to rain, so " + hero + " and " + friend + " went into the " + first + ".";
        };
        String end = switch (random.nextInt(5)) {
            case 0 -> "In the evening " + hero + " was " + one(random, Words.MOODS) + ".";
            case 1 -> "From that day on " + hero + " and " + friend + " shared the " + thing + ".";
            case 2 -> hero + " went home and slept well.";
            case 3 -> "The " + animal + " was happy too. The end.";
            default -> "\"Thank you,\" said " + friend + ". They both laughed.";
        };
        return opening + " " + event + " " + turn + " " + end;
    }

    /** People and things that move about, then where they are: only the last place counts. */
    static String moves(Random random) {
        var people = Words.some(random, Words.NAMES, 2 + random.nextInt(3));
        var places = new LinkedHashMap<String, String>();
        var text = new StringBuilder();
        for (int i = people.size() + random.nextInt(4); i > 0; i--) {
            String person = one(random, people);
            String place = one(random, Words.ROOMS);
            places.put(person, place);
            text.append(person).append(one(random, List.of(" went to the ", " walked to the ", " ran to the ", " is now in the ")))
                    .append(place).append(". ");
        }
        for (String person : Words.some(random, List.copyOf(places.keySet()), places.size())) {
            text.append("Where is ").append(person).append("? ").append(person).append(" is in the ").append(places.get(person)).append(". ");
        }
        return text.toString().strip();
    }

    private static String other(Random random, String name) {
        String other = one(random, Words.NAMES);
        return other.equals(name) ? other(random, name) : other;
    }
}
