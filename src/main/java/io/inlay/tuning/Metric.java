package io.inlay.tuning;

import java.util.Locale;
import java.util.Optional;

/** How generated answers are held to known ones. */
public enum Metric {
    /** The whole text, white space at its ends apart. */
    EXACT_MATCH,
    /** The answer word that a commonsense task asks for; see {@link AnswerExtraction}. */
    COMMONSENSE,
    /** The number, or the letter of a choice; see {@link AnswerExtraction}. */
    MATH;

    private static final int COMMONSENSE_TOKENS = 32;
    private static final int MATH_TOKENS = 256;

    /** Tokens that an answer may have: LLM-Adapters' for its tasks, else {@code otherwise}. */
    int maxTokens(int otherwise) {
        return switch (this) {
            case EXACT_MATCH -> otherwise;
            case COMMONSENSE -> COMMONSENSE_TOKENS;
            case MATH -> MATH_TOKENS;
        };
    }

    /** The example's label, found in the reference where the data has none apart; empty when this metric cannot judge the example. */
    Optional<String> label(EvaluationExample example) {
        return switch (this) {
            case EXACT_MATCH -> Optional.of(example.reference());
            case COMMONSENSE -> example.label().or(() -> AnswerExtraction.commonsenseLabel(example.reference()))
                    .filter(label -> AnswerExtraction.commonsense(label).isPresent());
            case MATH -> example.label().or(() -> AnswerExtraction.mathLabel(example.reference()))
                    .filter(label -> AnswerExtraction.math(label).isPresent());
        };
    }

    /** Why {@link #label} is empty, for people; empty when it is not. */
    public Optional<String> objection(EvaluationExample example) {
        if (label(example).isPresent()) {
            return Optional.empty();
        }
        String said = example.label().map(label -> "answer is '" + label + "'")
                .orElse("no answer is given, and none is found in the output");
        return Optional.of("metric " + wire() + ": " + said + "; it must be " + switch (this) {
            case EXACT_MATCH -> throw new AssertionError("any text can be matched");
            case COMMONSENSE -> "true, false, solution1-2, answer1-5, ending1-4 or option1-2";
            case MATH -> "a number, or a letter A to E";
        });
    }

    /** Whether a generated text is right. */
    public boolean right(String generated, EvaluationExample example) {
        String label = label(example).orElseThrow(() -> new IllegalArgumentException(objection(example).orElseThrow()));
        return switch (this) {
            case EXACT_MATCH -> generated.strip().equals(label.strip());
            case COMMONSENSE -> AnswerExtraction.commonsense(label).orElseThrow().agrees(generated, label);
            case MATH -> AnswerExtraction.math(label).orElseThrow().agrees(generated, label);
        };
    }

    /** As it is written in requests: {@code exact_match}. */
    public String wire() {
        return name().toLowerCase(Locale.ROOT);
    }
}
