package io.inlay.tuning;

import java.util.Locale;
import java.util.Optional;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * How an answer is found in a text, by the rules of LLM-Adapters (Hu et al. 2023), which the SMT paper and its peers are measured with:
 * {@code commonsense_evaluate.py} and {@code evaluate.py} of AGI-Edgerunners/LLM-Adapters. A rule belongs to a kind of label, since a file
 * may mix data sets; of their data sets every label tells its rule.
 */
public sealed interface AnswerExtraction {

    /** Whether the text gives the answer that the label says. */
    boolean agrees(String text, String label);

    /**
     * The first of the task's words wins, compared letter by letter; none is wrong. A word counts inside another too: "untrue" says true.
     */
    record FirstOf(Pattern words) implements AnswerExtraction {

        private static FirstOf of(String words) {
            return new FirstOf(Pattern.compile(words));
        }

        /** Empty where no word stands. */
        public Optional<String> in(String text) {
            return words.matcher(text).results().map(MatchResult::group).findFirst();
        }

        @Override
        public boolean agrees(String text, String label) {
            return in(text).filter(label::equals).isPresent();
        }
    }

    /** Commas go, the last {@code -?\d+\.?\d*} counts, and is right within 0.001; none is wrong. */
    record LastNumber() implements AnswerExtraction {

        private static final double MISS = 0.001;
        /** Python's \d is any script's digit. */
        private static final Pattern NUMBER = Pattern.compile("-?\\p{Nd}+\\.?\\p{Nd}*");

        /** Infinite where no number stands, as it is there: it is near no label. */
        public double in(String text) {
            return NUMBER.matcher(text.replace(",", "")).results().map(MatchResult::group).reduce((_, later) -> later)
                    .map(LastNumber::value).orElse(Double.POSITIVE_INFINITY);
        }

        private static double value(String number) {
            StringBuilder latin = new StringBuilder();
            number.codePoints().forEach(c -> latin.appendCodePoint(Character.isDigit(c) ? '0' + Character.digit(c, 10) : c));
            return Double.parseDouble(latin.toString());
        }

        @Override
        public boolean agrees(String text, String label) {
            return Math.abs(Double.parseDouble(label.strip()) - in(text)) <= MISS;
        }
    }

    FirstOf TRUE_FALSE = FirstOf.of("true|false");
    FirstOf SOLUTION = FirstOf.of("solution1|solution2");
    FirstOf ANSWER = FirstOf.of("answer1|answer2|answer3|answer4|answer5");
    FirstOf ENDING = FirstOf.of("ending1|ending2|ending3|ending4");
    FirstOf OPTION = FirstOf.of("option1|option2");
    FirstOf LETTER = FirstOf.of("A|B|C|D|E");
    LastNumber NUMBER = new LastNumber();

    /** The rule of a commonsense label; empty for what is none. */
    static Optional<FirstOf> commonsense(String label) {
        return java.util.stream.Stream.of(TRUE_FALSE, SOLUTION, ANSWER, ENDING, OPTION)
                .filter(rule -> rule.words().matcher(label).matches()).findFirst();
    }

    /** The rule of a label of mathematics: a letter as AQuA's, or a number; empty for what is neither. */
    static Optional<AnswerExtraction> math(String label) {
        if (LETTER.words().matcher(label).matches()) {
            return Optional.of(LETTER);
        }
        return isNumber(label) ? Optional.of(NUMBER) : Optional.empty();
    }

    private static boolean isNumber(String label) {
        return label.strip().toLowerCase(Locale.ROOT).matches("[+-]?(\\d+\\.?\\d*|\\.\\d+)(e[+-]?\\d+)?");
    }

    /** What a text says that carries no label apart: its first word of any commonsense task. */
    static Optional<String> commonsenseLabel(String reference) {
        return FirstOf.of(String.join("|", TRUE_FALSE.words().pattern(), SOLUTION.words().pattern(), ANSWER.words().pattern(),
                ENDING.words().pattern(), OPTION.words().pattern())).in(reference);
    }

    /** What a text says that carries no label apart: its last number. */
    static Optional<String> mathLabel(String reference) {
        double number = NUMBER.in(reference);
        return Double.isInfinite(number) ? Optional.empty() : Optional.of(Double.toString(number));
    }
}
