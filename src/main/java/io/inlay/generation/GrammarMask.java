package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.generation.grammar.TokenGrammar;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;

/**
 * Forbids what the grammar does not allow next; the end is allowed where the answer may end. What is allowed can be worked out ahead, on
 * another thread, which has the walk until it is done.
 */
final class GrammarMask implements LogitsProcessor {

    private final TokenGrammar.Walk walk;
    private final Set<Integer> ends;
    private final String model;
    /** What comes next, on its way or there; null where nobody asked for it ahead. */
    private CompletableFuture<BitSet> next;

    GrammarMask(TokenGrammar.Walk walk, Set<Integer> ends, String model) {
        this.walk = walk;
        this.ends = ends;
        this.model = model;
    }

    /**
     * Has the next mask worked out, unless it is known.
     *
     * @param then run when that is over, on any thread
     */
    void prepare(Executor elsewhere, Runnable then) {
        BitSet known = walk.known();
        if (known != null) {
            next = CompletableFuture.completedFuture(known);
            return;
        }
        try {
            next = CompletableFuture.supplyAsync(walk::allowed, elsewhere);
        } catch (RejectedExecutionException stopped) {
            next = CompletableFuture.failedFuture(stopped);
        }
        next.whenComplete((_, _) -> then.run());
    }

    /** Whether {@link #process} would not wait, nor work long if the mask was prepared. */
    boolean ready() {
        return next == null || next.isDone();
    }

    /** Lets go of what was not begun to be worked out. */
    void cancel() {
        if (next != null) {
            next.cancel(false);
        }
    }

    @Override
    public void process(float[] logits) {
        BitSet allowed = next == null ? walk.allowed() : next.join();
        boolean mayEnd = walk.mayEnd();
        if (allowed.isEmpty() && !(mayEnd && !ends.isEmpty())) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "model " + model + " has no token that could come next in the answer that "
                    + "response_format, regex or grammar asks for; ask for characters that its vocabulary has");
        }
        int from = 0;
        while (from < logits.length) {
            int token = allowed.nextSetBit(from);
            int to = token < 0 ? logits.length : Math.min(token, logits.length);
            forbid(logits, from, to, mayEnd);
            from = token < 0 ? to : allowed.nextClearBit(to);
        }
    }

    private void forbid(float[] logits, int from, int to, boolean mayEnd) {
        int[] kept = mayEnd ? ends.stream().mapToInt(end -> end).filter(end -> end >= from && end < to).sorted().toArray() : new int[0];
        int at = from;
        for (int end : kept) {
            Arrays.fill(logits, at, end, Float.NEGATIVE_INFINITY);
            at = end + 1;
        }
        Arrays.fill(logits, at, to, Float.NEGATIVE_INFINITY);
    }

    @Override
    public void drew(int token) {
        next = null;
        if (!ends.contains(token)) {
            walk.take(token);
        }
    }

    boolean over() {
        return walk.over();
    }
}
