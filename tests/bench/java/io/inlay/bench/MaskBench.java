package io.inlay.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.generation.grammar.Grammar;
import io.inlay.generation.grammar.SchemaGrammar;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.generation.grammar.Vocabulary;
import io.inlay.model.TokenBytes;
import io.inlay.model.Tokenizer;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.Supplier;

/**
 * Masks at places where no answer was before, over the vocabulary of a model in a folder, or a made one of 128,000 tokens: answers are
 * drawn evenly of what is allowed, half of them with few tokens left. Grammars are made anew in each round; the first round is a process's
 * first. Times are the thread's own, whatever else the machine does.
 */
public final class MaskBench {

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final int TOKENS = 128_000;
    private static final int ROUNDS = 4;
    private static final int ANSWERS = 10;
    private static final int STEPS = 60;

    private MaskBench() {
    }

    public static void main(String[] arguments) {
        TokenBytes tokens = arguments.length > 0 ? Tokenizer.open(Path.of(arguments[0])).bytes() : made();
        long start = System.nanoTime();
        Vocabulary vocabulary = new Vocabulary(tokens);
        System.out.printf(Locale.ROOT, "tree of %d tokens: %.0f ms%n", tokens.bytes().length, millis(start));
        System.out.printf("%-30s %5s %8s %8s %8s %8s%n", "CPU ms for masks not known", "round", "masks", "median", "p90", "worst");
        forms().forEach((name, form) -> {
            for (int round = 0; round < ROUNDS; round++) {
                List<Double> times = times(new TokenGrammar(form.get(), vocabulary), tokens.bytes().length);
                System.out.printf(Locale.ROOT, "%-30s %5d %8d %8.2f %8.2f %8.2f%n", name, round, times.size(), times.get(times.size() / 2),
                        times.get(times.size() * 9 / 10), times.getLast());
            }
        });
    }

    private static Map<String, Supplier<Grammar>> forms() {
        Map<String, Supplier<Grammar>> forms = new LinkedHashMap<>();
        forms.put("any object", () -> SchemaGrammar.anyObject("bench"));
        forms.put("record with bounded strings", () -> schema("""
                {"type": "object", "required": ["name", "tags", "when", "n"], "additionalProperties": true, "properties": {
                 "name": {"type": "string", "minLength": 5, "maxLength": 200}, "when": {"type": "string", "format": "date-time"},
                 "tags": {"type": "array", "items": {"type": "string", "maxLength": 40}},
                 "n": {"type": "integer", "minimum": 3, "maximum": 77777}}}"""));
        forms.put("words", () -> Grammar.regex("([A-Za-z]{1,12} ){1,50}\\."));
        forms.put("lines", () -> Grammar.regex("(.{0,80}\\n)*(.*[0-9]{3}.*){2}"));
        forms.put("nested calls", () -> Grammar.gbnf("""
                root ::= e
                e ::= t (("+" | "-") t)*
                t ::= "(" e ")" | [0-9]+ | [a-z] [a-z0-9]* ("(" e ("," e)* ")")?"""));
        return forms;
    }

    private static Grammar schema(String text) {
        try {
            return SchemaGrammar.of("bench", new ObjectMapper().readTree(text));
        } catch (JsonProcessingException wrong) {
            throw new IllegalStateException(wrong);
        }
    }

    /** Of the masks that were not known, ascending. */
    private static List<Double> times(TokenGrammar grammar, int vocabulary) {
        SplittableRandom random = new SplittableRandom(1);
        List<Double> times = new ArrayList<>();
        for (int answer = 0; answer < ANSWERS; answer++) {
            TokenGrammar.Walk walk = grammar.begin(answer % 2 == 0 ? 4000 : 2 * STEPS);
            for (int step = 0; step < STEPS && !walk.over(); step++) {
                boolean known = walk.known() != null;
                long start = THREADS.getCurrentThreadCpuTime();
                BitSet allowed = walk.allowed();
                if (!known) {
                    times.add((THREADS.getCurrentThreadCpuTime() - start) / 1e6);
                }
                if (allowed.isEmpty()) {
                    break;
                }
                int drawn = allowed.nextSetBit(random.nextInt(vocabulary));
                walk.take(drawn < 0 ? allowed.nextSetBit(0) : drawn);
            }
        }
        return times.stream().sorted().toList();
    }

    private static double millis(long start) {
        return (System.nanoTime() - start) / 1e6;
    }

    /** All bytes, and words of three scripts, some with punctuation, as real ones have them. */
    private static TokenBytes made() {
        SplittableRandom random = new SplittableRandom(1);
        Set<String> words = new HashSet<>();
        while (words.size() < TOKENS - 256) {
            StringBuilder word = new StringBuilder(random.nextBoolean() ? " " : "");
            int script = random.nextInt(10);
            int letters = script == 0 ? 1 + random.nextInt(3) : 2 + random.nextInt(8);
            for (int i = 0; i < letters; i++) {
                word.append((char) (script == 0 ? 0x4E00 + random.nextInt(3000) : (script < 3 ? 0x430 : 'a') + random.nextInt(26)));
            }
            words.add(word.append(random.nextInt(10) == 0 ? "\",:{}[]()\n0123".charAt(random.nextInt(14)) : "").toString());
        }
        byte[][] bytes = new byte[TOKENS][];
        int id = 0;
        for (; id < 256; id++) {
            bytes[id] = new byte[] {(byte) id};
        }
        for (String word : words.stream().sorted().toList()) {
            bytes[id++] = word.getBytes(StandardCharsets.UTF_8);
        }
        return new TokenBytes(bytes, false);
    }
}
