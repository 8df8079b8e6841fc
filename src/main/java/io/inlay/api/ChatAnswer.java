package io.inlay.api;

import io.inlay.generation.FinishReason;
import io.inlay.generation.GenerationEvent;
import java.util.ArrayList;
import java.util.List;

/** A choice of {@code chat.completion} and {@code chat.completion.chunk}. */
final class ChatAnswer implements AnswerChoice {

    private final int index;
    private final TokenNames names;
    private final boolean scored;
    private final ToolCallReader tools;
    private final StringBuilder text = new StringBuilder();
    private final List<AnswerWire.TokenLogprob> all = new ArrayList<>();
    private List<AnswerWire.ToolCall> calls = List.of();
    private String reason;

    /**
     * @param scored whether log-probabilities are told
     * @param tools finds calls in the text; null where the request has no tools
     */
    ChatAnswer(int index, TokenNames names, boolean scored, ToolCallReader tools) {
        this.index = index;
        this.names = names;
        this.scored = scored;
        this.tools = tools;
    }

    @Override
    public List<Object> opening() {
        return List.of(new AnswerWire.ChunkChoice(index, new AnswerWire.Delta("assistant", "", null), null, null));
    }

    @Override
    public List<Object> hear(GenerationEvent.Text event) {
        List<AnswerWire.TokenLogprob> scores = new ArrayList<>();
        if (event.scores() != null && !names.tokenizer().eos().contains(event.token())) {
            scores.add(names.logprob(event.token(), event.scores()));
        }
        all.addAll(scores);
        String shown = tools == null ? event.text() : tools.accept(event.text());
        text.append(shown);
        return shown.isEmpty() && scores.isEmpty() ? List.of() : List.of(new AnswerWire.ChunkChoice(index,
                new AnswerWire.Delta(null, shown, null), scored ? new AnswerWire.ChatLogprobs(scores, null) : null, null));
    }

    @Override
    public List<Object> ending(FinishReason why) {
        List<Object> pieces = new ArrayList<>();
        if (tools != null) {
            String rest = tools.finish();
            calls = tools.calls();
            text.append(rest);
            if (!rest.isEmpty()) {
                pieces.add(new AnswerWire.ChunkChoice(index, new AnswerWire.Delta(null, rest, null), null, null));
            }
            if (!calls.isEmpty()) {
                pieces.add(new AnswerWire.ChunkChoice(index, new AnswerWire.Delta(null, null, calls), null, null));
            }
        }
        reason = calls.isEmpty() ? why.wire() : "tool_calls";
        pieces.add(new AnswerWire.ChunkChoice(index, new AnswerWire.Delta(null, null, null), null, reason));
        return pieces;
    }

    @Override
    public Object whole() {
        List<AnswerWire.ToolCall> plain = calls.stream().map(each -> new AnswerWire.ToolCall(null, each.id(), each.type(), each.function()))
                .toList();
        String content = plain.isEmpty() ? text.toString() : text.toString().isBlank() ? null : text.toString();
        return new AnswerWire.ChatChoice(index, new AnswerWire.AnswerMessage("assistant", content, null, plain.isEmpty() ? null : plain),
                scored ? new AnswerWire.ChatLogprobs(all, null) : null, reason);
    }
}
