package io.inlay.server.demo.corpus;

import static io.inlay.server.demo.corpus.Words.article;
import static io.inlay.server.demo.corpus.Words.one;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;

/**
 * One thing that is so in a document's little world, in a sentence, and the questions which that sentence answers.
 *
 * @param subject what the fact is about; two facts of one document never share a subject and a relation
 */
record Fact(String subject, String sentence, List<Question> questions) {

    /** A question and its answer, short ({@code Lyon}) and in a sentence ({@code Mara lives in Lyon.}). */
    record Question(String text, String answer, String sentence) {
    }

    /** {@code count} facts of one relation, or of two, about different subjects with different values. */
    static List<Fact> some(Random random, int count) {
        var facts = new ArrayList<Fact>();
        if (count > 3 && random.nextInt(3) == 0) {
            int first = count / 2;
            int relation = random.nextInt(RELATIONS.size());
            facts.addAll(RELATIONS.get(relation).draw(random, first));
            facts.addAll(RELATIONS.get((relation + 1 + random.nextInt(RELATIONS.size() - 1)) % RELATIONS.size()).draw(random, count - first));
            Collections.shuffle(facts, random);
        } else {
            facts.addAll(one(random, RELATIONS).draw(random, count));
        }
        return facts;
    }

    private interface Relation {
        List<Fact> draw(Random random, int count);
    }

    private interface Sentence {
        Fact of(String subject, String value);
    }

    private static final List<Relation> RELATIONS = List.of(
            (random, count) -> pair(random, Words.NAMES, Words.TOWNS, count, Fact::lives),
            (random, count) -> pair(random, Words.NAMES, Words.THINGS, count, random.nextBoolean() ? Fact::has : Fact::found),
            (random, count) -> pair(random, Words.NAMES, Words.JOBS, count, Fact::works),
            (random, count) -> pair(random, Words.NAMES, Words.FOODS, count, Fact::likes),
            (random, count) -> pair(random, Words.NAMES, Words.PARTS, count, Fact::repairs),
            (random, count) -> pair(random, Words.THINGS, Words.ROOMS, count, Fact::standsIn),
            (random, count) -> pair(random, Words.THINGS, Words.COLOURS, Math.min(count, Words.COLOURS.size()), Fact::coloured),
            (random, count) -> pair(random, Words.PARTS, Words.TOWNS, count, Fact::sentTo),
            (random, count) -> pair(random, Words.PARTS, numbers(random, count), count, Fact::costs),
            (random, count) -> pair(random, Words.FOODS, numbers(random, count), count, Fact::counted),
            (random, count) -> pair(random, Words.NAMES, numbers(random, count), count, Fact::aged),
            (random, count) -> pair(random, random.nextBoolean() ? Words.PARTS : Words.THINGS, codes(random, count), count, Fact::coded),
            (random, count) -> pair(random, Words.NAMES, Words.ANIMALS, count, Fact::keeps),
            (random, count) -> pair(random, Words.NAMES, Words.DAYS, Math.min(count, Words.DAYS.size()), Fact::comes),
            (random, count) -> pair(random, Words.NAMES, Words.ROOMS, count, Fact::isIn));

    static List<String> numbers(Random random, int count) {
        var numbers = new LinkedHashSet<String>();
        while (numbers.size() < count) {
            numbers.add(String.valueOf(2 + random.nextInt(98)));
        }
        return List.copyOf(numbers);
    }

    static List<String> codes(Random random, int count) {
        var codes = new LinkedHashSet<String>();
        while (codes.size() < count) {
            codes.add(Words.code(random));
        }
        return List.copyOf(codes);
    }

    private static List<Fact> pair(Random random, List<String> subjects, List<String> values, int count, Sentence sentence) {
        var chosenSubjects = Words.some(random, subjects, count);
        var chosenValues = Words.some(random, values, count);
        var facts = new ArrayList<Fact>();
        for (int i = 0; i < count; i++) {
            facts.add(sentence.of(chosenSubjects.get(i), chosenValues.get(i)));
        }
        return facts;
    }

    private static Fact fact(String subject, String sentence, String... questionsAndAnswers) {
        var questions = new ArrayList<Question>();
        for (int i = 0; i < questionsAndAnswers.length; i += 2) {
            questions.add(new Question(questionsAndAnswers[i], questionsAndAnswers[i + 1], sentence));
        }
        return new Fact(subject, sentence, questions);
    }

    private static Fact lives(String name, String town) {
        return fact(name, name + " lives in " + town + ".", "Where does " + name + " live?", town, "Who lives in " + town + "?", name,
                "What is the town of " + name + "?", town);
    }

    private static Fact has(String name, String thing) {
        return fact(name, name + " has " + article(thing) + ".", "What does " + name + " have?", article(thing),
                "Who has the " + thing + "?", name, "Who is the owner of the " + thing + "?", name);
    }

    private static Fact found(String name, String thing) {
        return fact(name, name + " found the " + thing + ".", "What did " + name + " find?", "the " + thing,
                "Who found the " + thing + "?", name);
    }

    private static Fact works(String name, String job) {
        return fact(name, name + " is " + article(job) + ".", "What is the job of " + name + "?", job, "Who is the " + job + "?", name);
    }

    private static Fact likes(String name, String food) {
        return fact(name, name + " likes " + food + ".", "What does " + name + " like?", food, "Who likes " + food + "?", name);
    }

    private static Fact repairs(String name, String part) {
        return fact(name, name + " repairs the " + part + ".", "What does " + name + " repair?", "the " + part,
                "Who repairs the " + part + "?", name);
    }

    private static Fact standsIn(String thing, String room) {
        return fact(thing, "The " + thing + " is in the " + room + ".", "Where is the " + thing + "?", room,
                "What is in the " + room + "?", "the " + thing);
    }

    private static Fact coloured(String thing, String colour) {
        return fact(thing, "The " + thing + " is " + colour + ".", "What colour is the " + thing + "?", colour,
                "Which thing is " + colour + "?", "the " + thing);
    }

    private static Fact sentTo(String part, String town) {
        return fact(part, "The " + part + " goes to " + town + ".", "Where does the " + part + " go?", town,
                "What goes to " + town + "?", "the " + part);
    }

    private static Fact costs(String part, String price) {
        return fact(part, "The " + part + " costs " + price + " coins.", "What does the " + part + " cost?", price + " coins",
                "What costs " + price + " coins?", "the " + part);
    }

    private static Fact counted(String food, String number) {
        return fact(food, "There are " + number + " boxes of " + food + ".", "How many boxes of " + food + " are there?", number,
                "Of what are there " + number + " boxes?", food);
    }

    private static Fact aged(String name, String age) {
        return fact(name, name + " is " + age + " years old.", "How old is " + name + "?", age, "Who is " + age + " years old?", name,
                "What is the age of " + name + "?", age);
    }

    private static Fact coded(String thing, String code) {
        return fact(thing, "The code of the " + thing + " is " + code + ".", "What is the code of the " + thing + "?", code,
                "Which thing has the code " + code + "?", "the " + thing);
    }

    private static Fact keeps(String name, String animal) {
        return fact(name, name + " keeps " + article(animal) + ".", "Which animal does " + name + " keep?", article(animal),
                "Who keeps the " + animal + "?", name);
    }

    private static Fact comes(String name, String day) {
        return fact(name, name + " comes on " + day + ".", "When does " + name + " come?", day, "Who comes on " + day + "?", name);
    }

    private static Fact isIn(String name, String room) {
        return fact(name, name + " is in the " + room + ".", "Where is " + name + "?", room, "Who is in the " + room + "?", name);
    }
}
