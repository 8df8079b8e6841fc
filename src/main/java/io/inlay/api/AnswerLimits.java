package io.inlay.api;

/**
 * What one request may ask for.
 *
 * @param maxTokens of an answer
 */
public record AnswerLimits(int maxTokens) {
}
