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
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs a generation and gives its answer, whole or as server-sent events. The waiting thread is a virtual one. When the client is gone the
 * generation is cancelled: the connection's end is heard of at once, and a write that fails tells it too.
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

    Response answer(ModelCatalog.Resolved resolved, GenerationRequest request, AnswerShape shape, boolean stream, boolean withUsage) {
        // Holds at most a request's tokens; the engine never waits for a slow reader.
        BlockingQueue<GenerationEvent> events = new LinkedBlockingQueue<>();
        Generation generation = admission.submit(resolved, request, events::add);
        // Not the response's own close handler: it has room for one, and streaming puts another in its place.
        client.addEndHandler(_ -> generation.cancel());
        Response.ResponseBuilder response = Response.ok();
        resolved.delta().ifPresent(version -> response.header("Inlay-Delta", version.model())
                .header("Inlay-Delta-Digest", version.digest()));
        if (stream) {
            StreamingOutput output = out -> stream(out, events, generation, shape, withUsage);
            return response.type(MediaType.SERVER_SENT_EVENTS_TYPE).header("Cache-Control", "no-cache").entity(output).build();
        }
        return response.type(MediaType.APPLICATION_JSON_TYPE).entity(collect(events, generation, shape)).build();
    }

    private static Object collect(BlockingQueue<GenerationEvent> events, Generation generation, AnswerShape shape) {
        StringBuilder text = new StringBuilder();
        while (true) {
            switch (next(events, generation)) {
                case GenerationEvent.Text more -> text.append(more.text());
                case GenerationEvent.Finished end -> {
                    return shape.whole(text.toString(), end.reason().wire(), Wire.Usage.of(end.promptTokens(), end.completionTokens()));
                }
                case GenerationEvent.Failed failed -> throw failed.problem();
            }
        }
    }

    private void stream(OutputStream out, BlockingQueue<GenerationEvent> events, Generation generation, AnswerShape shape,
            boolean withUsage) {
        try {
            if (shape.opening() != null) {
                send(out, json.writeValueAsString(shape.opening()));
            }
            boolean more = true;
            while (more) {
                switch (next(events, generation)) {
                    case GenerationEvent.Text text -> send(out, json.writeValueAsString(shape.piece(text.text())));
                    case GenerationEvent.Finished end -> {
                        send(out, json.writeValueAsString(shape.ending(end.reason().wire())));
                        if (withUsage) {
                            send(out, json.writeValueAsString(shape.usage(Wire.Usage.of(end.promptTokens(), end.completionTokens()))));
                        }
                        more = false;
                    }
                    case GenerationEvent.Failed failed -> {
                        send(out, json.writeValueAsString(Problems.body(failed.problem())));
                        more = false;
                    }
                }
            }
            send(out, "[DONE]");
        } catch (IOException gone) {
            LOG.debug("a client hung up while its answer was streaming", gone);
        } finally {
            generation.cancel();
        }
    }

    private static GenerationEvent next(BlockingQueue<GenerationEvent> events, Generation generation) {
        try {
            return events.take();
        } catch (InterruptedException stopped) {
            generation.cancel();
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while generating", stopped);
        }
    }

    private static void send(OutputStream out, String data) throws IOException {
        out.write(("data: " + data + "\n\n").getBytes(StandardCharsets.UTF_8));
        out.flush();
    }
}
