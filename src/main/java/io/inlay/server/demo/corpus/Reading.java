package io.inlay.server.demo.corpus;

import static io.inlay.server.demo.corpus.Words.one;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;

/** Facts, then questions about them: where a model learns to look up what its context says. */
final class Reading {
    private Reading() {
    }

    /** Facts in sentences with questions and short answers, in one of several layouts. */
    static String facts(Random random) {
        var facts = Fact.some(random, 2 + random.nextInt(6));
        var text = new StringBuilder(facts.stream().map(Fact::sentence).collect(Collectors.joining(random.nextInt(3) == 0 ? "\n" : " ")));
        int layout = random.nextInt(4);
        for (var question : questions(random, facts, 3 + random.nextInt(6))) {
            text.append(switch (layout) {
                case 0 -> "\nQuestion: " + question.text() + "\nAnswer: " + question.answer();
                case 1 -> "\nQ: " + question.text() + "\nA: " + question.answer();
                case 2 -> "\n" + question.text() + " " + Words.capital(question.answer()) + ".";
                default -> "\n" + question.text() + " " + question.sentence();
            });
        }
        return text.toString();
    }

    /** At most {@code count} different questions about the facts. */
    static List<Fact.Question> questions(Random random, List<Fact> facts, int count) {
        var all = facts.stream().flatMap(fact -> fact.questions().stream()).toList();
        return Words.some(random, all, Math.min(count, all.size()));
    }

    /** A table with a header, one row a line, and questions that name a column and a cell of the row. */
    static String table(Random random) {
        var table = Table.draw(random, 2 + random.nextInt(4), 2 + random.nextInt(3));
        String separator = one(random, List.of(", ", " | ", "; ", " - ", "\t", " "));
        var text = new StringBuilder();
        boolean header = random.nextInt(4) != 0;
        if (header) {
            text.append(String.join(separator, table.columns())).append('\n');
        }
        for (var row : table.rows()) {
            text.append(String.join(separator, row)).append('\n');
        }
        for (var cell : table.ask(random, 3 + random.nextInt(6))) {
            text.append(switch (random.nextInt(3)) {
                case 0 -> "What is the " + cell.column() + " of " + cell.key() + "? ";
                case 1 -> "Which " + cell.column() + " goes with " + cell.key() + "? ";
                default -> "Find the " + cell.column() + " for " + cell.key() + ": ";
            }).append(cell.value()).append('\n');
        }
        return text.toString().stripTrailing();
    }

    /** Cards of {@code field: value} lines and questions about them. */
    static String cards(Random random) {
        var table = Table.draw(random, 2 + random.nextInt(3), 2 + random.nextInt(3));
        var text = new StringBuilder();
        boolean lines = random.nextBoolean();
        for (var row : table.rows()) {
            for (int column = 0; column < row.size(); column++) {
                text.append(table.columns().get(column)).append(": ").append(row.get(column))
                        .append(lines || column == row.size() - 1 ? "\n" : ", ");
            }
            text.append(lines ? "\n" : "");
        }
        for (var cell : table.ask(random, 3 + random.nextInt(6))) {
            text.append(random.nextBoolean()
                    ? "The " + cell.column() + " of " + cell.key() + " is " + cell.value() + ".\n"
                    : "Which " + cell.column() + " belongs to " + cell.key() + "? " + cell.value() + "\n");
        }
        return text.toString().stripTrailing();
    }

    /** Rows of a table whose cells differ, so that every cell names its row. */
    private record Table(List<String> columns, List<List<String>> rows) {
        private record Cell(String key, String column, String value) {
        }

        private record Column(String name, List<String> values) {
        }

        static Table draw(Random random, int rows, int columns) {
            var drawn = Words.some(random, kinds(random, rows), columns);
            var cells = new ArrayList<List<String>>();
            var values = drawn.stream().map(column -> Words.some(random, column.values(), rows)).toList();
            for (int row = 0; row < rows; row++) {
                int index = row;
                cells.add(values.stream().map(column -> column.get(index)).toList());
            }
            return new Table(drawn.stream().map(Column::name).toList(), cells);
        }

        private static List<Column> kinds(Random random, int rows) {
            return List.of(new Column("name", Words.NAMES), new Column("town", Words.TOWNS), new Column("thing", Words.THINGS),
                    new Column("part", Words.PARTS), new Column("job", Words.JOBS), new Column("food", Words.FOODS),
                    new Column("room", Words.ROOMS), new Column("animal", Words.ANIMALS), new Column("code", Fact.codes(random, rows)),
                    new Column("number", Fact.numbers(random, rows)), new Column("colour", Words.COLOURS));
        }

        /** At most {@code count} different cells, each with another cell of its row that names it. */
        List<Cell> ask(Random random, int count) {
            var cells = new LinkedHashSet<Cell>();
            for (int i = 0; i < count; i++) {
                var row = one(random, rows);
                int key = random.nextInt(columns.size());
                int value = (key + 1 + random.nextInt(columns.size() - 1)) % columns.size();
                cells.add(new Cell(row.get(key), columns.get(value), row.get(value)));
            }
            return List.copyOf(cells);
        }
    }
}
