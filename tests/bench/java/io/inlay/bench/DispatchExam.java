package io.inlay.bench;

import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import io.inlay.server.demo.Dispatch;
import io.inlay.tuning.TuningExample;
import java.util.ArrayList;
import java.util.List;

/** The demonstration's task for a base model: its questions as training examples, and greedy answers to held-out ones. */
record DispatchExam(LlamaModel model) {

    private static final int LONGEST_ANSWER = 8;

    List<TuningExample> examples(List<Dispatch.Question> questions) {
        return questions.stream().map(this::example).toList();
    }

    private TuningExample example(Dispatch.Question question) {
        int[] prompt = model.tokenizer().encode(question.prompt(), true);
        int[] completion = model.tokenizer().encode(question.completion(), false);
        int[] tokens = new int[prompt.length + completion.length + 1];
        System.arraycopy(prompt, 0, tokens, 0, prompt.length);
        System.arraycopy(completion, 0, tokens, prompt.length, completion.length);
        tokens[tokens.length - 1] = model.tokenizer().eos().iterator().next();
        return new TuningExample(tokens, prompt.length);
    }

    /** Percent of the questions that greedy decoding answers to the letter. */
    double accuracy(WeightOverlay overlay, List<Dispatch.Question> questions) {
        try (LlamaInference inference = new LlamaInference(model); KvCache cache = inference.cache(model.maxContext())) {
            long right = questions.stream().filter(question -> question.isAnsweredBy(reply(inference, cache, overlay, question.prompt())))
                    .count();
            return 100.0 * right / questions.size();
        }
    }

    private String reply(LlamaInference inference, KvCache cache, WeightOverlay overlay, String prompt) {
        cache.truncate(0);
        List<Integer> ids = new ArrayList<>();
        float[] logits = inference.prefill(model.tokenizer().encode(prompt, true), cache, overlay);
        while (ids.size() < LONGEST_ANSWER) {
            int next = Contender.likeliest(logits);
            if (model.tokenizer().eos().contains(next)) {
                break;
            }
            ids.add(next);
            logits = inference.decode(next, cache, overlay);
        }
        return model.tokenizer().decode(ids.stream().mapToInt(Integer::intValue).toArray());
    }
}
