package io.inlay.api;

import io.inlay.generation.FinishReason;
import io.inlay.generation.GenerationEvent;
import io.inlay.generation.TokenScores;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A choice of {@code text_completion}. */
final class TextAnswer implements AnswerChoice {

    private final int index;
    private final Echo echo;
    private final TokenNames names;
    private final boolean scored;
    private final StringBuilder text = new StringBuilder();
    private final Scores all = new Scores();
    private int offset;
    private FinishReason reason;

    /**
     * The prompt, given back.
     *
     * @param tokens of it
     * @param scores of its tokens from the second on; empty where they are not asked for
     */
    record Echo(String text, int[] tokens, List<TokenScores> scores) {
    }

    private static final class Scores {
        private final List<String> tokens = new ArrayList<>();
        private final List<Double> logprobs = new ArrayList<>();
        private final List<Map<String, Double>> likeliest = new ArrayList<>();
        private final List<Integer> offsets = new ArrayList<>();

        void addAll(Scores other) {
            tokens.addAll(other.tokens);
            logprobs.addAll(other.logprobs);
            likeliest.addAll(other.likeliest);
            offsets.addAll(other.offsets);
        }

        AnswerWire.TextLogprobs wire() {
            return new AnswerWire.TextLogprobs(tokens, logprobs, likeliest, offsets);
        }
    }

    /**
     * @param echo null for none
     * @param scored whether log-probabilities are told
     */
    TextAnswer(int index, Echo echo, TokenNames names, boolean scored) {
        this.index = index;
        this.echo = echo;
        this.names = names;
        this.scored = scored;
    }

    @Override
    public List<Object> opening() {
        if (echo == null) {
            return List.of();
        }
        Scores scores = new Scores();
        for (int i = 0; scored && i < echo.tokens().length; i++) {
            add(scores, echo.tokens()[i], i == 0 ? null : echo.scores().get(i - 1));
        }
        return List.of(piece(echo.text(), scores));
    }

    @Override
    public List<Object> hear(GenerationEvent.Text event) {
        Scores scores = new Scores();
        if (event.scores() != null && !names.tokenizer().eos().contains(event.token())) {
            add(scores, event.token(), event.scores());
        }
        return event.text().isEmpty() && scores.tokens.isEmpty() ? List.of() : List.of(piece(event.text(), scores));
    }

    private void add(Scores scores, int token, TokenScores known) {
        String name = names.text(token);
        scores.tokens.add(name);
        scores.logprobs.add(known == null ? null : known.logProbability());
        scores.likeliest.add(known == null ? null : names.likeliest(token, known));
        scores.offsets.add(offset);
        offset += name.length();
    }

    private Object piece(String more, Scores scores) {
        text.append(more);
        all.addAll(scores);
        return new AnswerWire.TextChoice(more, index, scored ? scores.wire() : null, null);
    }

    @Override
    public List<Object> ending(FinishReason why) {
        reason = why;
        return List.of(new AnswerWire.TextChoice("", index, null, why.wire()));
    }

    @Override
    public Object whole() {
        return new AnswerWire.TextChoice(text.toString(), index, scored ? all.wire() : null, reason.wire());
    }
}
