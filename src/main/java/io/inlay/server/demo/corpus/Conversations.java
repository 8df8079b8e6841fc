package io.inlay.server.demo.corpus;

import static io.inlay.server.demo.corpus.Words.one;

import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;

/** Turns between a user and the assistant, in the markup of the embedded model's chat template. */
final class Conversations {
    static final String SYSTEM = "<|system|>";
    static final String USER = "<|user|>";
    static final String ASSISTANT = "<|assistant|>";
    static final String END = "<|end|>";

    private static final List<String> SYSTEMS = List.of("You are Inlay, a small and friendly model.", "You are a helpful assistant.",
            "Answer in one short sentence.", "You answer questions about the text.");
    private static final List<String> GREETINGS = List.of("Hello!", "Hi!", "Good morning!", "Hello, how are you?", "Hi there.", "Good evening.");
    private static final List<String> WELCOMES = List.of("Hello! How can I help you?", "Hi! What can I do for you?", "Hello! I am well, thank you.");

    private Conversations() {
    }

    static String conversation(Random random) {
        var text = new StringBuilder();
        if (random.nextInt(3) == 0) {
            text.append(SYSTEM).append('\n').append(one(random, SYSTEMS)).append(END).append('\n');
        }
        for (int turns = 1 + random.nextInt(3); turns > 0; turns--) {
            turn(random, text);
        }
        return text.toString().stripTrailing();
    }

    private static void turn(Random random, StringBuilder text) {
        switch (random.nextInt(10)) {
            case 0 -> say(text, one(random, GREETINGS), one(random, WELCOMES));
            case 1 -> {
                String name = one(random, Words.NAMES);
                say(text, one(random, List.of("My name is " + name + ".", "I am " + name + ".", "Please call me " + name + ".")),
                        "Nice to meet you, " + name + ".");
                say(text, "What is my name?", "Your name is " + name + ".");
            }
            case 2 -> {
                var known = Exercises.known(random);
                say(text, known.getFirst(), known.getLast());
            }
            case 3 -> {
                String words = String.join(" ", Exercises.mixedWords(random, 2 + random.nextInt(5)));
                say(text, one(random, List.of("Repeat after me: ", "Please say: ", "Copy this: ")) + words, words);
            }
            case 4 -> {
                String animal = one(random, Words.ANIMALS);
                String hero = one(random, Words.NAMES);
                say(text, "Tell me a story about " + hero + " and " + Words.article(animal) + ".", Stories.story(random, hero, animal));
            }
            case 5 -> {
                var sum = Exercises.sum(random).split(" = ");
                say(text, "What is " + sum[0] + "?", sum[0] + " = " + sum[1]);
            }
            case 6 -> {
                var words = Words.some(random, random.nextBoolean() ? Words.ANIMALS : Words.FOODS, 3);
                say(text, "Make a list of " + Words.enumeration(words) + ".",
                        words.stream().map(word -> "- " + word).collect(Collectors.joining("\n")));
            }
            case 7 -> say(text, one(random, List.of("Who are you?", "What is your name?", "What are you?")),
                    one(random, List.of("I am Inlay, a very small language model.", "My name is Inlay. I am a small model.")));
            case 8 -> say(text, one(random, List.of("Thank you.", "Thanks!", "Goodbye!", "Bye.")),
                    one(random, List.of("You are welcome.", "Goodbye! Have a nice day.")));
            default -> {
                var facts = Fact.some(random, 2 + random.nextInt(4));
                var questions = Reading.questions(random, facts, 1 + random.nextInt(3));
                boolean brief = random.nextBoolean();
                String context = facts.stream().map(Fact::sentence).collect(Collectors.joining(" ")) + "\n";
                for (var question : questions) {
                    say(text, context + question.text(), brief ? Words.capital(question.answer()) + "." : question.sentence());
                    context = "";
                }
            }
        }
    }

    private static void say(StringBuilder text, String user, String assistant) {
        text.append(USER).append('\n').append(user).append(END).append('\n')
                .append(ASSISTANT).append('\n').append(assistant).append(END).append('\n');
    }
}
