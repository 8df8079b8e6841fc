package io.inlay.server.demo.corpus;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Writes documents as JSON strings, one a line: what the tokenizer is trained on, and what a reader looks at first. */
public final class CorpusPrinter {
    private CorpusPrinter() {
    }

    /** {@code CorpusPrinter SEED FIRST COUNT}. */
    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 3) {
            throw new IllegalArgumentException("usage: CorpusPrinter SEED FIRST COUNT, for example: CorpusPrinter 1 0 20");
        }
        var corpus = new Corpus(Long.parseLong(arguments[0]));
        long first = Long.parseLong(arguments[1]);
        long count = Long.parseLong(arguments[2]);
        var json = new ObjectMapper();
        try (var out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8)) {
            for (long index = first; index < first + count; index++) {
                out.println(json.writeValueAsString(corpus.document(index)));
            }
        }
    }
}
