package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.generation.GenerationEvent.Failed;
import io.inlay.generation.GenerationEvent.Finished;
import io.inlay.generation.GenerationEvent.Text;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/** A listener that writes everything down and complains of what comes after the end. */
final class Transcript implements Consumer<GenerationEvent> {

    private final List<GenerationEvent> events = new CopyOnWriteArrayList<>();
    private final CompletableFuture<GenerationEvent> end = new CompletableFuture<>();
    private final Consumer<GenerationEvent> also;

    Transcript() {
        this(_ -> { });
    }

    /**
     * @param also hears each event after it is written down; may block or throw
     */
    Transcript(Consumer<GenerationEvent> also) {
        this.also = also;
    }

    @Override
    public void accept(GenerationEvent event) {
        if (end.isDone()) {
            throw new IllegalStateException("after the end came " + event);
        }
        events.add(event);
        switch (event) {
            case Text text -> also.accept(text);
            case Finished finished -> {
                end.complete(finished);
                also.accept(finished);
            }
            case Failed failed -> {
                end.complete(failed);
                also.accept(failed);
            }
        }
    }

    boolean ended() {
        return end.isDone();
    }

    List<GenerationEvent> events() {
        return List.copyOf(events);
    }

    int[] tokens() {
        return events.stream().filter(Text.class::isInstance).mapToInt(event -> ((Text) event).token()).toArray();
    }

    String text() {
        StringBuilder text = new StringBuilder();
        events.forEach(event -> text.append(event instanceof Text piece ? piece.text() : ""));
        return text.toString();
    }

    Finished finished() {
        GenerationEvent last = await();
        if (last instanceof Failed failed) {
            throw failed.problem();
        }
        return (Finished) last;
    }

    Problem problem() {
        return await() instanceof Failed failed ? failed.problem() : null;
    }

    GenerationEvent await() {
        try {
            return end.get(60, TimeUnit.SECONDS);
        } catch (InterruptedException | ExecutionException | TimeoutException never) {
            throw new IllegalStateException("no end; so far " + events, never);
        }
    }
}
