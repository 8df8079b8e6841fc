/**
 * The corpus on which the embedded model is pre-trained: a deterministic generator of a small world's text.
 *
 * <p>Document number {@code i} of seed {@code s} depends on {@code i} and {@code s} alone, through {@link java.util.Random}, whose
 * algorithm the Java platform fixes to the bit: the corpus needs no file, can be read from anywhere, and is the same on every machine.
 * Every sentence here was written for this project; nothing is taken from elsewhere.
 *
 * <p>The room knows words and templates. It does not know tokens, models or the demonstration's task: the query language of
 * {@code io.inlay.server.demo} appears in no document, which is what makes that task new to the base model.
 */
package io.inlay.server.demo.corpus;
