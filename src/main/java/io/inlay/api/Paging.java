package io.inlay.api;

import io.inlay.Problem;
import java.util.List;
import java.util.function.Function;

/** OpenAI's paging: at most {@code limit} rows behind the row with id {@code after}. */
final class Paging {

    private static final int DEFAULT = 20;
    private static final int MOST = 10_000;

    private Paging() {
    }

    /** Rows of a page. */
    static int size(Integer limit) {
        int size = limit == null ? DEFAULT : limit;
        if (size < 1 || size > MOST) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "limit is " + limit + "; it must be 1 to " + MOST);
        }
        return size;
    }

    /** A page of rows, as the wire has it; an {@code after} that is not among them is refused. */
    static <T, W> Wire.ListOf<W> page(List<T> rows, Function<T, String> id, Integer limit, String after, Function<T, W> view) {
        int size = size(limit);
        int from = 0;
        if (after != null) {
            while (from < rows.size() && !id.apply(rows.get(from)).equals(after)) {
                from++;
            }
            if (from == rows.size()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "after is '" + after + "', which is not in the list; give the id of the last "
                        + "item of the page before");
            }
            from++;
        }
        int to = Math.min(rows.size(), from + size);
        List<T> shown = rows.subList(from, to);
        return shown.isEmpty() ? Wire.ListOf.of(List.of()) : new Wire.ListOf<>("list", shown.stream().map(view).toList(),
                id.apply(shown.getFirst()), id.apply(shown.getLast()), to < rows.size());
    }
}
