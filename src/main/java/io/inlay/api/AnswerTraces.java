package io.inlay.api;

import io.inlay.generation.Generation;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import jakarta.enterprise.context.ApplicationScoped;
import java.time.Instant;
import java.util.List;
import java.util.Set;

/**
 * Spans of answers, under their requests': what they waited for and what they did. Made when the answer has ended, off the engine's thread.
 */
@ApplicationScoped
public class AnswerTraces {

    private static final Set<String> GOOD = Set.of("stop", "length", "cancelled");
    private static final AttributeKey<List<String>> FINISH = AttributeKey.stringArrayKey("gen_ai.response.finish_reasons");

    private final Tracer tracer;

    AnswerTraces(Tracer tracer) {
        this.tracer = tracer;
    }

    void ended(Admission.Watched answer, Generation.Phases phases, long now, String finish) {
        if (!Span.fromContext(answer.trace).getSpanContext().isSampled()) {
            return;
        }
        Instant wall = Instant.now();
        Thread.startVirtualThread(() -> write(answer, phases, new Clock(wall, now), finish));
    }

    /** Times of day of nanoseconds, by one moment that is known as both. */
    private record Clock(Instant wall, long nanos) {

        Instant at(long time) {
            return wall.plusNanos(time - nanos);
        }
    }

    private void write(Admission.Watched answer, Generation.Phases phases, Clock clock, String finish) {
        Span whole = tracer.spanBuilder("generate").setParent(answer.trace).setStartTimestamp(clock.at(phases.submitted()))
                .setAttribute("gen_ai.operation.name", "text_completion")
                .setAttribute("gen_ai.request.model", answer.delta == null ? answer.model : answer.delta.model())
                .setAttribute("gen_ai.usage.input_tokens", answer.promptTokens).setAttribute("gen_ai.usage.output_tokens", answer.drawn())
                .setAttribute(FINISH, List.of(finish)).setAttribute("inlay.tenant", answer.tenant).startSpan();
        if (!GOOD.contains(finish)) {
            whole.setStatus(StatusCode.ERROR, finish);
        }
        Context inside = answer.trace.with(whole);
        long end = clock.nanos();
        part("queue", inside, clock, phases.submitted(), phases.begun(), end);
        if (answer.delta != null) {
            part("load delta", inside, clock, phases.begun(), phases.opened(), end);
        }
        part("prefill", inside, clock, phases.opened(), phases.drawn(), end);
        part("decode", inside, clock, phases.drawn(), 0, end);
        whole.end(clock.wall());
    }

    /** A phase that was begun; it lasted until the next, or the end where there is none. */
    private void part(String name, Context inside, Clock clock, long from, long to, long end) {
        if (from != 0) {
            tracer.spanBuilder(name).setParent(inside).setStartTimestamp(clock.at(from)).startSpan().end(clock.at(to == 0 ? end : to));
        }
    }
}
