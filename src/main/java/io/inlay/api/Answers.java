package io.inlay.api;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.generation.Generation;
import io.inlay.generation.GenerationEvent;
import io.inlay.generation.GenerationRequest;
import io.inlay.generation.ModelCatalog;
import io.vertx.ext.web.RoutingContext;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import jakarta.ws.rs.core.StreamingOutput;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs an answer's generations and gives it, whole or as server-sent events. The waiting thread is a virtual one. When the client is gone
 * the generations are cancelled: the connection's end is heard of at once, and a write that fails tells it too.
 */
@ApplicationScoped
class Answers {

    private static final Logger LOG = LoggerFactory.getLogger(Answers.class);

    private final ObjectMapper json;
    private final RoutingContext client;
    private final Admission admission;

    Answers(ObjectMapper json, RoutingContext client, Admission admission) {
        this.admission = admission;
        this.json = json;
        this.client = client;
    }

    /** What one of an answer's choices is asked for, and how it is told. */
    record Part(GenerationRequest request, AnswerChoice choice) {
    }

    /** An event, and the number of the part that it is of. */
    private record Heard(int part, GenerationEvent event) {
    }

    /**
     * Generates all parts at the same time.
     *
     * @param promptTokens of all prompts, each counted once
     */
    Response answer(ModelCatalog.Resolved resolved, List<Part> parts, AnswerShape shape, int promptTokens, boolean stream,
            boolean withUsage) {
        // Holds at most a request's tokens; the engine never waits for a slow reader.
        BlockingQueue<Heard> events = new LinkedBlockingQueue<>();
        List<Generation> generations = submit(resolved, parts, events);
        // Not the response's own close handler: it has room for one, and streaming puts another in its place.
        client.addEndHandler(_ -> generations.forEach(Generation::cancel));
        Response.ResponseBuilder response = Response.ok();
        resolved.delta().ifPresent(version -> response.header("Inlay-Delta", version.model())
                .header("Inlay-Delta-Digest", version.digest()));
        Run run = new Run(parts, shape, promptTokens, events, generations);
        if (stream) {
            StreamingOutput output = out -> stream(out, run, withUsage);
            return response.type(MediaType.SERVER_SENT_EVENTS_TYPE).header("Cache-Control", "no-cache").entity(output).build();
        }
        return response.type(MediaType.APPLICATION_JSON_TYPE).entity(collect(run)).build();
    }

    private record Run(List<Part> parts, AnswerShape shape, int promptTokens, BlockingQueue<Heard> events, List<Generation> generations) {
    }

    private List<Generation> submit(ModelCatalog.Resolved resolved, List<Part> parts, BlockingQueue<Heard> events) {
        List<Generation> generations = new ArrayList<>();
        try {
            for (int i = 0; i < parts.size(); i++) {
                int part = i;
                generations.add(admission.submit(resolved, parts.get(i).request(), event -> events.add(new Heard(part, event))));
            }
        } catch (RuntimeException refused) {
            generations.forEach(Generation::cancel);
            throw refused;
        }
        return generations;
    }

    private static Object collect(Run run) {
        int drawn = 0;
        run.parts().forEach(part -> part.choice().opening());
        try {
            for (int left = run.parts().size(); left > 0;) {
                Heard heard = next(run);
                AnswerChoice choice = run.parts().get(heard.part()).choice();
                switch (heard.event()) {
                    case GenerationEvent.Text more -> choice.hear(more);
                    case GenerationEvent.Finished end -> {
                        choice.ending(end.reason());
                        drawn += end.completionTokens();
                        left--;
                    }
                    case GenerationEvent.Failed failed -> throw failed.problem();
                }
            }
        } finally {
            run.generations().forEach(Generation::cancel);
        }
        return run.shape().whole(run.parts().stream().map(part -> part.choice().whole()).toList(),
                Wire.Usage.of(run.promptTokens(), drawn));
    }

    private void stream(OutputStream out, Run run, boolean withUsage) {
        try {
            for (Part part : run.parts()) {
                send(out, run.shape(), part.choice().opening());
            }
            int drawn = 0;
            int left = run.parts().size();
            boolean failed = false;
            while (left > 0 && !failed) {
                Heard heard = next(run);
                AnswerChoice choice = run.parts().get(heard.part()).choice();
                switch (heard.event()) {
                    case GenerationEvent.Text text -> send(out, run.shape(), choice.hear(text));
                    case GenerationEvent.Finished end -> {
                        send(out, run.shape(), choice.ending(end.reason()));
                        drawn += end.completionTokens();
                        left--;
                    }
                    case GenerationEvent.Failed failure -> {
                        send(out, json.writeValueAsString(Problems.body(failure.problem())));
                        failed = true;
                    }
                }
            }
            if (withUsage && !failed) {
                send(out, json.writeValueAsString(run.shape().usage(Wire.Usage.of(run.promptTokens(), drawn))));
            }
            send(out, "[DONE]");
        } catch (IOException gone) {
            LOG.debug("a client hung up while its answer was streaming", gone);
        } finally {
            run.generations().forEach(Generation::cancel);
        }
    }

    private static Heard next(Run run) {
        try {
            return run.events().take();
        } catch (InterruptedException stopped) {
            run.generations().forEach(Generation::cancel);
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while generating", stopped);
        }
    }

    private void send(OutputStream out, AnswerShape shape, List<Object> choices) throws IOException {
        for (Object choice : choices) {
            send(out, json.writeValueAsString(shape.piece(choice)));
        }
    }

    private static void send(OutputStream out, String data) throws IOException {
        out.write(("data: " + data + "\n\n").getBytes(StandardCharsets.UTF_8));
        out.flush();
    }
}
